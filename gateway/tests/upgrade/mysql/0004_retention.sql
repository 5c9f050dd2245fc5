ALTER TABLE idempotency_keys
    ADD KEY idempotency_keys_order (order_id);
