-- The tables of MySQL and MariaDB. migrations/sqlite/0001_orders.sql has the same tables, columns and indexes.
--
-- Times are microseconds since 1970 (UTC), money is in minor units, ids are UUID version 7 in their binary form, so
-- that the primary key is in the order of creation. Strings are compared byte by byte.

-- A row contains the present order, its first event (the creation) and its two latest events.
--
-- Columns that change have a fixed length, so a changed row keeps its position in the page. While an order is in the
-- queue or with a worker, no column of an index changes.
CREATE TABLE orders (
    id                   BINARY(16)   NOT NULL,
    tenant_id            VARCHAR(64)  NOT NULL,
    external_reference   VARCHAR(200) NULL,
    customer             VARCHAR(200) NULL,
    -- JSON: [{"item":"Laptop","quantity":2,"priceMinor":129999}]
    line_items           MEDIUMTEXT   NOT NULL,
    currency             VARCHAR(3)   NOT NULL,
    total_minor          BIGINT       NOT NULL,
    -- The sum over the line items.
    quantity             BIGINT       NOT NULL,
    status               ENUM('pending', 'processing', 'completed', 'failed', 'cancelled') NOT NULL,
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
    stage                ENUM('waiting', 'held', 'completed', 'failed', 'cancelled') NOT NULL DEFAULT 'waiting',
    -- The time at which a waiting order is pushed to the queue; the maximum number if it does not wait.
    due_at               BIGINT       NOT NULL,
    -- The end of the claim of a held order: of its visibility timeout in the queue, or of its lease. 0 if it is not
    -- held.
    held_until           BIGINT       NOT NULL DEFAULT 0,
    -- The earliest start of a pending order: its creation, the end of its retry delay, or its schedule.
    not_before           BIGINT       NOT NULL,
    -- The scheduled start. NULL if it is not scheduled.
    process_after        BIGINT       NULL,
    priority             ENUM('high', 'normal', 'low') NOT NULL DEFAULT 'normal',
    -- The reason and the error class of the latest event. NULL if it has none.
    reason               VARCHAR(500) NULL,
    error_class          VARCHAR(64)  NULL,
    created_at           BIGINT       NOT NULL,
    updated_at           BIGINT       NOT NULL,
    -- The event before the latest one, from version 2 on.
    previous_status      ENUM('pending', 'processing', 'completed', 'failed', 'cancelled') NOT NULL DEFAULT 'pending',
    previous_attempt     BIGINT       NOT NULL DEFAULT 0,
    previous_reason      VARCHAR(500) NULL,
    previous_at          BIGINT       NOT NULL DEFAULT 0,
    previous_error_class VARCHAR(64)  NULL,
    PRIMARY KEY (id),
    -- Dispatch: the due orders of each priority, oldest first. Other orders have the maximum number as their due time,
    -- so dispatch never reads them.
    KEY orders_due (priority, due_at),
    -- Lists filtered by status, newest first; the held orders, which are few; counts. A list without a filter reads the
    -- primary key backwards.
    KEY orders_by_stage (tenant_id, stage, id),
    -- Lists filtered by customer, newest first.
    KEY orders_by_customer (tenant_id, customer, id),
    -- Lookups by the shop's number of an order.
    KEY orders_by_reference (tenant_id, external_reference, id),
    -- Lists sorted by total, and ranges of totals in one currency.
    KEY orders_by_total (tenant_id, currency, total_minor, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The events between the first one and the two latest ones. Most orders have none: they are created, started and
-- completed. The primary key stores the events of an order together and rejects a repeated sequence.
CREATE TABLE order_events (
    order_id    BINARY(16)   NOT NULL,
    sequence    BIGINT       NOT NULL,
    status      ENUM('pending', 'processing', 'completed', 'failed', 'cancelled') NOT NULL,
    attempt     BIGINT       NOT NULL,
    reason      VARCHAR(500) NULL,
    occurred_at BIGINT       NOT NULL,
    error_class VARCHAR(64)  NULL,
    PRIMARY KEY (order_id, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A key is written in the transaction of its order. Keys are bytes: 'Key-A' and 'key-a' are two keys.
CREATE TABLE idempotency_keys (
    tenant_id       VARCHAR(64)    NOT NULL,
    idempotency_key VARBINARY(255) NOT NULL,
    request_hash    BINARY(32)     NOT NULL,
    -- The first order of the create.
    order_id        BINARY(16)     NOT NULL,
    created_at      BIGINT         NOT NULL,
    expires_at      BIGINT         NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key),
    -- Removal of expired keys.
    KEY idempotency_keys_expiry (expires_at),
    -- The removal of an order removes its keys.
    KEY idempotency_keys_order (order_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One row for each queue; there is one queue. A transaction that starts orders locks its row in share mode, so no order
-- is started after the commit of a pause.
CREATE TABLE queues (
    name         VARCHAR(64)  NOT NULL,
    -- The start of the pause; NULL if it is not paused.
    paused_at    BIGINT       NULL,
    -- The end of the pause; NULL if an operator must resume the queue.
    paused_until BIGINT       NULL,
    paused_by    VARCHAR(200) NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT IGNORE INTO queues (name) VALUES ('orders');

-- The identity that all gateways of one database share. The id distinguishes their messages from those of other
-- installations on the same Redis. The secret authenticates messages of the bus, the order ids of a bulk create and
-- lease tokens. The row must not be changed or removed: repetitions of bulk creates are recognised with it.
CREATE TABLE installation (
    -- Always 1: there is one row.
    single    TINYINT    NOT NULL,
    id        BINARY(16) NOT NULL,
    secret    BINARY(32) NOT NULL,
    -- A monotonic time that advances while a gateway runs. With it, a gateway that starts after the clock was set forward
    -- removes nothing too early. 0 if it is not known yet.
    steady_at BIGINT     NOT NULL DEFAULT 0,
    PRIMARY KEY (single)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT IGNORE INTO installation (single, id, secret) VALUES (1, RANDOM_BYTES(16), RANDOM_BYTES(32));
