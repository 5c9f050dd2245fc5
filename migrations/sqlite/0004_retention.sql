-- The twin of migrations/mysql/0004_retention.sql: an order that is removed takes its idempotency key along.

CREATE INDEX idempotency_keys_order ON idempotency_keys (order_id);
