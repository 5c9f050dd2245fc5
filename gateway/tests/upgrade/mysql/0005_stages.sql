ALTER TABLE orders
    -- Where the order is: `waiting` for dispatch to push it, `held` by the queue or by a worker, or its
    -- final status.
    ADD COLUMN stage      CHAR(10) NOT NULL DEFAULT 'waiting',
    -- A held order is left alone until then: the guard of its job in the queue, or its lease. 0 when not held.
    ADD COLUMN held_until BIGINT   NOT NULL DEFAULT 0,
    DROP KEY orders_due,
    DROP KEY orders_by_status;

-- Assignments count from left to right here: due_at comes last.
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

ALTER TABLE orders
    -- Columns that change have one length, so that a changed row stays where it is in its page.
    MODIFY status      CHAR(10) NOT NULL,
    MODIFY priority    CHAR(6)  NOT NULL DEFAULT 'normal',
    -- 0 when there is no lease.
    MODIFY lease_token BIGINT   NOT NULL DEFAULT 0,
    -- When a waiting order is to be pushed; the largest number when it does not wait.
    MODIFY due_at      BIGINT   NOT NULL,
    -- Dispatch: the waiting orders that are due, each priority for itself, oldest first.
    ADD KEY orders_due (priority, due_at),
    -- Lists filtered by status, newest first, and the held orders, of which there are never many.
    ADD KEY orders_by_stage (tenant_id, stage, id);
