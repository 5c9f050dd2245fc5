-- The twin of migrations/sqlite/0004_retention.sql: an order that is removed takes its idempotency key along.

ALTER TABLE idempotency_keys
    ADD KEY idempotency_keys_order (order_id);
