-- Further data of orders. migrations/mysql/0007_order_data.sql has the same columns.

-- JSON: {"key":"value"}; NULL without any key. It is set at the creation and by rare changes, never by a change of the
-- status, so an order without it costs nothing.
ALTER TABLE orders ADD COLUMN metadata TEXT NULL;

-- The order that this one has replaced, and the one that has replaced it.
ALTER TABLE orders ADD COLUMN replaces BLOB NULL;
ALTER TABLE orders ADD COLUMN replaced_by BLOB NULL;

-- The word that routes the order to workers.
ALTER TABLE orders ADD COLUMN kind VARCHAR(32) NOT NULL DEFAULT 'default';

-- Dispatch takes the due orders of one kind, tenant and priority.
DROP INDEX orders_due;
CREATE INDEX orders_due ON orders (kind, priority, tenant_id, due_at) WHERE stage = 'waiting';

-- JSON that workers have produced, of orders that have some.
CREATE TABLE order_outputs (
    order_id   BLOB NOT NULL PRIMARY KEY,
    -- The state from which the next attempt continues. Removed by the result.
    checkpoint TEXT NULL,
    result     TEXT NULL
);

-- 1 if the external references of the tenant's orders are unique.
ALTER TABLE tenants ADD COLUMN unique_references INTEGER NOT NULL DEFAULT 0;

-- The orders of these tenants by their references, which are compared byte by byte. Orders of other tenants have no rows.
CREATE TABLE order_references (
    tenant_id TEXT NOT NULL,
    reference BLOB NOT NULL,
    order_id  BLOB NOT NULL,
    PRIMARY KEY (tenant_id, reference)
) WITHOUT ROWID;
-- The removal of an order removes its reference.
CREATE INDEX order_references_order ON order_references (order_id);

-- Notes of orders. A note is no event: its number is independent of the sequences of events.
CREATE TABLE order_notes (
    order_id   BLOB          NOT NULL,
    -- 1, 2, 3 … within the order.
    number     INTEGER       NOT NULL,
    body       VARCHAR(1000) NOT NULL,
    -- A word such as `packed`; NULL without one.
    milestone  VARCHAR(32)   NULL,
    -- 1 if the customer sees it on the tracking page.
    is_public  INTEGER       NOT NULL,
    author     VARCHAR(310)  NOT NULL,
    created_at BIGINT        NOT NULL,
    PRIMARY KEY (order_id, number)
) WITHOUT ROWID;

-- The kinds of orders that the worker takes, separated by commas; `*` is every kind, and empty if it has stated none.
ALTER TABLE workers ADD COLUMN kinds VARCHAR(4000) NOT NULL DEFAULT '';

-- The lease of the sweeper: the gateway that expires claims, removes old rows and measures the queue.
CREATE TABLE sweeper (
    -- Always 1: there is one row.
    single      INTEGER NOT NULL PRIMARY KEY,
    -- The random number of the gateway's process; 0 without one.
    gateway     BIGINT  NOT NULL DEFAULT 0,
    held_until  BIGINT  NOT NULL DEFAULT 0,
    -- JSON of the last measurement of the queue; NULL before the first one.
    measured    TEXT    NULL,
    measured_at BIGINT  NOT NULL DEFAULT 0
);

INSERT OR IGNORE INTO sweeper (single) VALUES (1);

-- The shard of Vitess in which the row is, for its vindex; 0 without shards.
ALTER TABLE event_log ADD COLUMN shard SMALLINT NOT NULL DEFAULT 0;

-- The latest move of events from each other shard to the first one, which has the numbered log. Empty without shards.
CREATE TABLE event_log_sources (
    shard   SMALLINT NOT NULL,
    -- The number of moves.
    moves   BIGINT   NOT NULL,
    -- The ids of the rows of the latest one, 8 bytes each, which the next one removes from the shard.
    row_ids BLOB     NOT NULL,
    PRIMARY KEY (shard)
);
