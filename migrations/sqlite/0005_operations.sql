-- What operators see: signals and workers. migrations/mysql/0005_operations.sql has the same tables, columns and indexes.

-- The worker of the latest attempt, padded with spaces so that the length of the row does not change; only spaces if it
-- has stated no name.
ALTER TABLE orders ADD COLUMN worker VARCHAR(64) NOT NULL DEFAULT '                                ';

-- The worker that started an attempt, in the event of the start.
ALTER TABLE order_events ADD COLUMN worker VARCHAR(64) NULL;

-- What happened in one minute over one gateway: how many orders it accepted, started, completed and so on, and their times.
CREATE TABLE signals (
    minute     BIGINT NOT NULL,
    -- The random number of the gateway's process.
    gateway    BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    -- JSON: six intervals of ten seconds for each tenant (see gateway/service/src/signals/minute.rs).
    payload    TEXT   NOT NULL,
    PRIMARY KEY (minute, gateway)
) WITHOUT ROWID;

CREATE INDEX signals_by_change ON signals (changed_at);

-- The workers that are connected, or were lately. The gateway of a worker writes its row every ten seconds.
CREATE TABLE workers (
    -- '*' for workers of all tenants.
    tenant_id    VARCHAR(64)  NOT NULL,
    name         VARCHAR(64)  NOT NULL,
    version      VARCHAR(64)  NOT NULL,
    host         VARCHAR(255) NOT NULL,
    -- The random number of the gateway's process.
    gateway      BIGINT       NOT NULL,
    -- 'connected', 'draining' or 'disconnected'.
    state        VARCHAR(16)  NOT NULL,
    -- The attempts that it runs at the same time; 0 if it has not stated that.
    slots        BIGINT       NOT NULL,
    in_flight    BIGINT       NOT NULL,
    -- JSON: the attempts of the minute before (see gateway/service/src/workers.rs).
    recent       TEXT         NOT NULL,
    connected_at BIGINT       NOT NULL,
    last_seen_at BIGINT       NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITHOUT ROWID;

CREATE INDEX workers_by_time ON workers (last_seen_at);
