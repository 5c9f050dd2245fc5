-- Where the order is: `waiting` for dispatch to push it, `held` by the queue or by a worker, or its final
-- status.
ALTER TABLE orders ADD COLUMN stage VARCHAR(10) NOT NULL DEFAULT 'waiting';
-- A held order is left alone until then: the guard of its job in the queue, or its lease. 0 when not held.
ALTER TABLE orders ADD COLUMN held_until BIGINT NOT NULL DEFAULT 0;

DROP INDEX orders_due;
DROP INDEX orders_by_status;

-- From here on lease_token is 0 when there is no lease. due_at says when a waiting order is to be pushed,
-- and is the largest number when it does not wait.
UPDATE orders SET
    held_until = CASE WHEN status = 'processing' OR (status = 'pending' AND due_at > not_before)
        THEN COALESCE(due_at, 0) ELSE 0 END,
    stage = CASE WHEN status = 'processing' OR (status = 'pending' AND due_at > not_before) THEN 'held'
        WHEN status = 'pending' THEN 'waiting' ELSE status END,
    lease_token = COALESCE(lease_token, 0),
    due_at = CASE WHEN status = 'pending' AND COALESCE(due_at, 0) <= not_before
        THEN not_before ELSE 9223372036854775807 END
    -- Rows that have changed already stay as they are.
    WHERE stage = 'waiting';

-- Dispatch: the waiting orders that are due, each priority for itself, oldest first.
CREATE INDEX orders_due ON orders (priority, due_at) WHERE stage = 'waiting';
-- Lists filtered by status, newest first, and the held orders, of which there are never many.
CREATE INDEX orders_by_stage ON orders (tenant_id, stage, id);
