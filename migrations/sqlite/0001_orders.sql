-- The tables of SQLite. migrations/mysql/0001_orders.sql has the same tables, columns and indexes.
--
-- Times are microseconds since 1970 (UTC), money is in minor units, ids are UUID version 7 in their binary form, so
-- that the primary key is in the order of creation. Strings are compared byte by byte.

-- A row contains the present order, its first event (the creation) and its two latest events. While an order is in the
-- queue or with a worker, no column of an index changes.
CREATE TABLE orders (
    id                   BLOB         NOT NULL,
    tenant_id            VARCHAR(64)  NOT NULL,
    external_reference   VARCHAR(200) NULL,
    customer             VARCHAR(200) NULL,
    -- JSON: [{"item":"Laptop","quantity":2,"priceMinor":129999}]
    line_items           TEXT         NOT NULL,
    currency             VARCHAR(3)   NOT NULL,
    total_minor          BIGINT       NOT NULL,
    -- The sum over the line items.
    quantity             BIGINT       NOT NULL,
    status               VARCHAR(10)  NOT NULL,
    -- The sequence of the latest event.
    version              BIGINT       NOT NULL,
    -- The number of the latest attempt; 0 before the first.
    attempt              BIGINT       NOT NULL,
    -- The attempts that count against max_attempts.
    failures             BIGINT       NOT NULL,
    max_attempts         BIGINT       NOT NULL,
    -- The token of the running attempt; 0 if there is none.
    lease_token          BIGINT       NOT NULL DEFAULT 0,
    -- `waiting` for dispatch, `held` by the queue or by a worker, or the final status.
    stage                VARCHAR(10)  NOT NULL DEFAULT 'waiting',
    -- The time at which a waiting order is pushed to the queue; the maximum number if it does not wait.
    due_at               BIGINT       NOT NULL,
    -- The end of the claim of a held order: of its visibility timeout in the queue, or of its lease. 0 if it is not
    -- held.
    held_until           BIGINT       NOT NULL DEFAULT 0,
    -- The earliest start of a pending order: its creation, the end of its retry delay, or its schedule.
    not_before           BIGINT       NOT NULL,
    -- The scheduled start. NULL if it is not scheduled.
    process_after        BIGINT       NULL,
    priority             VARCHAR(6)   NOT NULL DEFAULT 'normal',
    -- The reason and the error class of the latest event. NULL if it has none.
    reason               VARCHAR(500) NULL,
    error_class          VARCHAR(64)  NULL,
    created_at           BIGINT       NOT NULL,
    updated_at           BIGINT       NOT NULL,
    -- The event before the latest one, from version 2 on.
    previous_status      VARCHAR(10)  NOT NULL DEFAULT 'pending',
    previous_attempt     BIGINT       NOT NULL DEFAULT 0,
    previous_reason      VARCHAR(500) NULL,
    previous_at          BIGINT       NOT NULL DEFAULT 0,
    previous_error_class VARCHAR(64)  NULL,
    PRIMARY KEY (id)
) WITHOUT ROWID;

-- Dispatch: the due orders of each priority, oldest first.
CREATE INDEX orders_due ON orders (priority, due_at) WHERE stage = 'waiting';
-- Lists filtered by status, newest first; the held orders, which are few; counts. A list without a filter reads the
-- primary key backwards.
CREATE INDEX orders_by_stage ON orders (tenant_id, stage, id);
-- Lists filtered by customer, newest first.
CREATE INDEX orders_by_customer ON orders (tenant_id, customer, id) WHERE customer IS NOT NULL;
-- Lookups by the shop's number of an order.
CREATE INDEX orders_by_reference ON orders (tenant_id, external_reference, id)
    WHERE external_reference IS NOT NULL;
-- Lists sorted by total, and ranges of totals in one currency.
CREATE INDEX orders_by_total ON orders (tenant_id, currency, total_minor, id);

-- The events between the first one and the two latest ones. Most orders have none: they are created, started and
-- completed. The primary key stores the events of an order together and rejects a repeated sequence.
CREATE TABLE order_events (
    order_id    BLOB         NOT NULL,
    sequence    BIGINT       NOT NULL,
    status      VARCHAR(10)  NOT NULL,
    attempt     BIGINT       NOT NULL,
    reason      VARCHAR(500) NULL,
    occurred_at BIGINT       NOT NULL,
    error_class VARCHAR(64)  NULL,
    PRIMARY KEY (order_id, sequence)
) WITHOUT ROWID;

-- A key is written in the transaction of its order.
CREATE TABLE idempotency_keys (
    tenant_id       VARCHAR(64) NOT NULL,
    idempotency_key BLOB        NOT NULL,
    request_hash    BLOB        NOT NULL,
    -- The first order of the create.
    order_id        BLOB        NOT NULL,
    created_at      BIGINT      NOT NULL,
    expires_at      BIGINT      NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key)
) WITHOUT ROWID;

-- Removal of expired keys.
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
-- The removal of an order removes its keys.
CREATE INDEX idempotency_keys_order ON idempotency_keys (order_id);

-- One row for each queue; there is one queue.
CREATE TABLE queues (
    name         VARCHAR(64)  NOT NULL,
    -- The start of the pause; NULL if it is not paused.
    paused_at    BIGINT       NULL,
    -- The end of the pause; NULL if an operator must resume the queue.
    paused_until BIGINT       NULL,
    paused_by    VARCHAR(200) NULL,
    PRIMARY KEY (name)
) WITHOUT ROWID;

INSERT OR IGNORE INTO queues (name) VALUES ('orders');

-- The identity that all gateways of one database share. The id distinguishes their messages from those of other
-- installations on the same Redis. The secret authenticates messages of the bus, the order ids of a bulk create and
-- lease tokens. The row must not be changed or removed: repetitions of bulk creates are recognised with it.
CREATE TABLE installation (
    -- Always 1: there is one row.
    single    INTEGER NOT NULL,
    id        BLOB    NOT NULL,
    secret    BLOB    NOT NULL,
    -- A monotonic time that advances while a gateway runs. With it, a gateway that starts after the clock was set forward
    -- removes nothing too early. 0 if it is not known yet.
    steady_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (single)
);

INSERT OR IGNORE INTO installation (single, id, secret) VALUES (1, randomblob(16), randomblob(32));
