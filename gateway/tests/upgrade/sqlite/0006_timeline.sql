-- The event before the latest one. Until there are two, nothing.
ALTER TABLE orders ADD COLUMN previous_status VARCHAR(10) NOT NULL DEFAULT 'pending';
ALTER TABLE orders ADD COLUMN previous_attempt BIGINT NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN previous_reason VARCHAR(500) NULL;
ALTER TABLE orders ADD COLUMN previous_at BIGINT NOT NULL DEFAULT 0;

UPDATE orders SET
    previous_status = earlier.status,
    previous_attempt = earlier.attempt,
    previous_reason = earlier.reason,
    previous_at = earlier.occurred_at
    FROM order_events AS earlier
    WHERE earlier.order_id = orders.id AND earlier.sequence = orders.version - 1;

DELETE FROM order_events WHERE sequence = 1
    OR sequence >= (SELECT version - 1 FROM orders WHERE orders.id = order_events.order_id);

-- That of the event before it.
ALTER TABLE order_events DROP COLUMN previous_status;
