-- Access control. migrations/mysql/0002_access.sql has the same tables, columns and indexes.

-- The owners of orders. An order's tenant_id is one of these.
CREATE TABLE tenants (
    tenant_id        VARCHAR(64)  NOT NULL,
    name             VARCHAR(200) NOT NULL,
    created_at       BIGINT       NOT NULL,
    -- Limits of all its keys together; NULL is no limit. A burst that is NULL is the rate.
    rate_per_s       INT          NULL,
    burst            INT          NULL,
    max_streams      INT          NULL,
    -- Orders that are not final.
    max_open         INT          NULL,
    -- The start of its suspension: its keys are refused. NULL if it is not suspended.
    suspended_at     BIGINT       NULL,
    -- Part of the signature of tracking links: a new number revokes those of the tenant.
    tracking_version INT          NOT NULL DEFAULT 1,
    -- The latest change, for the caches of keys.
    changed_at       BIGINT       NOT NULL,
    PRIMARY KEY (tenant_id)
) WITHOUT ROWID;

CREATE INDEX tenants_by_change ON tenants (changed_at);

INSERT OR IGNORE INTO tenants (tenant_id, name, created_at, changed_at) VALUES ('default', 'Default tenant', 0, 0);

-- API keys. The key itself is not stored.
CREATE TABLE api_keys (
    -- The part of the key before its secret.
    key_id       VARCHAR(8)   NOT NULL,
    -- NULL if the key acts for all tenants.
    tenant_id    VARCHAR(64)  NULL,
    name         VARCHAR(100) NOT NULL,
    -- SHA-256 of the whole key.
    hash         BLOB         NOT NULL,
    -- Words separated by spaces.
    scopes       VARCHAR(300) NOT NULL,
    created_at   BIGINT       NOT NULL,
    created_by   VARCHAR(200) NOT NULL,
    expires_at   BIGINT       NOT NULL,
    revoked_at   BIGINT       NULL,
    -- Limits of the key; NULL is no limit. A burst that is NULL is the rate.
    rate_per_s   INT          NULL,
    burst        INT          NULL,
    max_streams  INT          NULL,
    -- Within a minute; NULL before the first use.
    last_used_at BIGINT       NULL,
    -- The creation, rotation or revocation, for the caches of keys.
    changed_at   BIGINT       NOT NULL,
    PRIMARY KEY (key_id)
) WITHOUT ROWID;

CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, key_id);
CREATE INDEX api_keys_by_change ON api_keys (changed_at);

-- What operators did, each entry written in the transaction of its action.
CREATE TABLE audit_log (
    -- A UUID version 7, so that the primary key is in the order of time.
    id         BLOB          NOT NULL,
    tenant_id  VARCHAR(64)   NOT NULL,
    at         BIGINT        NOT NULL,
    -- The name of the principal.
    actor      VARCHAR(200)  NOT NULL,
    -- Such as `key.create`.
    action     VARCHAR(64)   NOT NULL,
    -- The id of the object.
    target     VARCHAR(200)  NOT NULL,
    request_id VARCHAR(64)   NULL,
    detail     VARCHAR(1000) NULL,
    PRIMARY KEY (id)
) WITHOUT ROWID;

CREATE INDEX audit_log_by_tenant ON audit_log (tenant_id, id);

-- The background loops read one stage of all tenants, and lists one stage of one tenant.
DROP INDEX orders_by_stage;
CREATE INDEX orders_by_stage ON orders (stage, tenant_id, id);

-- Dispatch: the due orders of each tenant and priority, oldest first.
DROP INDEX orders_due;
CREATE INDEX orders_due ON orders (priority, tenant_id, due_at) WHERE stage = 'waiting';
