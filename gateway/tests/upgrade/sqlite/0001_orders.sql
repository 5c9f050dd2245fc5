CREATE TABLE orders (
    id                 BLOB         NOT NULL,
    tenant_id          VARCHAR(64)  NOT NULL,
    external_reference VARCHAR(200) NULL,
    customer           VARCHAR(200) NULL,
    line_items         TEXT         NOT NULL,
    currency           VARCHAR(3)   NOT NULL,
    total_minor        BIGINT       NOT NULL,
    quantity           BIGINT       NOT NULL,
    status             VARCHAR(10)  NOT NULL,
    -- The sequence of the order's latest event.
    version            BIGINT       NOT NULL,
    attempt            BIGINT       NOT NULL,
    failures           BIGINT       NOT NULL,
    max_attempts       BIGINT       NOT NULL,
    lease_token        BIGINT       NULL,
    -- When the order next needs attention: dispatch, retry or the end of its lease. NULL when final.
    due_at             BIGINT       NULL,
    -- A pending order is not started before this time.
    not_before         BIGINT       NOT NULL,
    reason             VARCHAR(500) NULL,
    created_at         BIGINT       NOT NULL,
    updated_at         BIGINT       NOT NULL,
    PRIMARY KEY (id)
) WITHOUT ROWID;

-- Dispatch: the pending orders that are due, and the leases that ran out, oldest first. Final
-- orders have no due_at and are left out.
CREATE INDEX orders_due ON orders (status, due_at) WHERE due_at IS NOT NULL;
-- Lists filtered by status, newest first. A list without a filter reads the primary key backwards.
CREATE INDEX orders_by_status ON orders (tenant_id, status, id);
-- Lists filtered by customer, newest first.
CREATE INDEX orders_by_customer ON orders (tenant_id, customer, id) WHERE customer IS NOT NULL;
-- Looking an order up by the shop's own number.
CREATE INDEX orders_by_reference ON orders (tenant_id, external_reference, id)
    WHERE external_reference IS NOT NULL;

-- The primary key keeps an order's timeline together, in order, and refuses a sequence twice.
CREATE TABLE order_events (
    order_id        BLOB         NOT NULL,
    sequence        BIGINT       NOT NULL,
    status          VARCHAR(10)  NOT NULL,
    previous_status VARCHAR(10)  NULL,
    attempt         BIGINT       NOT NULL,
    reason          VARCHAR(500) NULL,
    occurred_at     BIGINT       NOT NULL,
    PRIMARY KEY (order_id, sequence)
) WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    tenant_id       VARCHAR(64) NOT NULL,
    idempotency_key BLOB        NOT NULL,
    request_hash    BLOB        NOT NULL,
    order_id        BLOB        NOT NULL,
    created_at      BIGINT      NOT NULL,
    expires_at      BIGINT      NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key)
) WITHOUT ROWID;

-- Pruning what has expired.
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
