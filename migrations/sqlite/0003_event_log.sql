-- The event log. migrations/mysql/0003_event_log.sql has the same tables, columns and indexes.

-- The events of all orders in the order in which they were committed. Each transaction that writes events adds them here,
-- as few rows as possible. After the commit a gateway numbers the rows, so positions have no gaps and a reader of a
-- position can read everything before it.
CREATE TABLE event_log (
    -- In the order of the inserts. AUTOINCREMENT: the id of a removed row is not used again.
    id         INTEGER    NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- The position of its first event: 1, 2, 3 … over all events. NULL until the row is numbered.
    position   BIGINT     NULL,
    -- The number of its events.
    events     INT        NOT NULL,
    created_at BIGINT     NOT NULL,
    -- The version of the encoding, 1 byte, and the events (see domain/src/event_codec.rs).
    payload    BLOB       NOT NULL
);

-- Numbering reads the rows without a position, in the order of their ids; readers read ranges of positions.
CREATE INDEX event_log_by_position ON event_log (position);

-- The ends of the log. Numbering and the removal of old rows change this row.
CREATE TABLE event_log_ends (
    -- Always 1: there is one row.
    single         TINYINT NOT NULL,
    -- The position of the first event that is kept, or the next position if none is.
    first_position BIGINT  NOT NULL,
    -- The position of the next event.
    next_position  BIGINT  NOT NULL,
    -- The bytes of the payloads of all numbered rows.
    bytes          BIGINT  NOT NULL,
    PRIMARY KEY (single)
) WITHOUT ROWID;

INSERT OR IGNORE INTO event_log_ends (single, first_position, next_position, bytes) VALUES (1, 1, 1, 0);

-- The named readers: the cursor up to which each has applied the events.
CREATE TABLE event_readers (
    -- '*' for the readers of callers for all tenants.
    tenant_id  VARCHAR(64) NOT NULL,
    name       VARCHAR(64) NOT NULL,
    -- The position of the last event that was applied; 0 before the first.
    position   BIGINT      NOT NULL,
    changed_at BIGINT      NOT NULL,
    -- What the reader has stored with its position.
    metadata   VARCHAR(1024) NOT NULL,
    -- The token of the process that has the lease, or NULL; and the end of the lease.
    holder     BIGINT      NULL,
    held_until BIGINT      NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITHOUT ROWID;
