CREATE INDEX idempotency_keys_order ON idempotency_keys (order_id);
