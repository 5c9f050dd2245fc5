ALTER TABLE orders
    ADD COLUMN priority      VARCHAR(6)  NOT NULL DEFAULT 'normal',
    -- The order is not started before this time, to the letter. NULL when it is not scheduled.
    ADD COLUMN process_after BIGINT      NULL,
    -- One word for what kind of failure the latest event is. NULL when it is none.
    ADD COLUMN error_class   VARCHAR(64) NULL,
    DROP KEY orders_due,
    -- Dispatch: the pending orders that are due, each priority for itself, oldest first; and the
    -- leases that ran out. Final orders have no due_at and are never read here.
    ADD KEY orders_due (status, priority, due_at);

-- One row for each queue; there is one queue. Whoever starts orders holds its row in share mode, so
-- that nothing is started any more once a pause is committed.
CREATE TABLE queues (
    name         VARCHAR(64)  NOT NULL,
    -- Since when it is paused; NULL when it is not.
    paused_at    BIGINT       NULL,
    -- When it goes on by itself; NULL when somebody has to resume it.
    paused_until BIGINT       NULL,
    paused_by    VARCHAR(200) NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT IGNORE INTO queues (name) VALUES ('orders');
