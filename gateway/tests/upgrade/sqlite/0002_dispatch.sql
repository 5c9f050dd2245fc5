ALTER TABLE orders ADD COLUMN priority VARCHAR(6) NOT NULL DEFAULT 'normal';
-- The order is not started before this time, to the letter. NULL when it is not scheduled.
ALTER TABLE orders ADD COLUMN process_after BIGINT NULL;
-- One word for what kind of failure the latest event is. NULL when it is none.
ALTER TABLE orders ADD COLUMN error_class VARCHAR(64) NULL;

-- Dispatch: the pending orders that are due, each priority for itself, oldest first; and the leases
-- that ran out. Final orders have no due_at and are left out.
DROP INDEX orders_due;
CREATE INDEX orders_due ON orders (status, priority, due_at) WHERE due_at IS NOT NULL;

-- One row for each queue; there is one queue.
CREATE TABLE queues (
    name         VARCHAR(64)  NOT NULL,
    -- Since when it is paused; NULL when it is not.
    paused_at    BIGINT       NULL,
    -- When it goes on by itself; NULL when somebody has to resume it.
    paused_until BIGINT       NULL,
    paused_by    VARCHAR(200) NULL,
    PRIMARY KEY (name)
) WITHOUT ROWID;

INSERT OR IGNORE INTO queues (name) VALUES ('orders');
