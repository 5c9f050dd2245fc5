CREATE TABLE orders (
    id                 BINARY(16)   NOT NULL,
    tenant_id          VARCHAR(64)  NOT NULL,
    external_reference VARCHAR(200) NULL,
    customer           VARCHAR(200) NULL,
    line_items         MEDIUMTEXT   NOT NULL,
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
    PRIMARY KEY (id),
    -- Dispatch: the pending orders that are due, and the leases that ran out, oldest first. Final
    -- orders have no due_at and are never read here.
    KEY orders_due (status, due_at),
    -- Lists filtered by status, newest first. A list without a filter reads the primary key backwards.
    KEY orders_by_status (tenant_id, status, id),
    -- Lists filtered by customer, newest first.
    KEY orders_by_customer (tenant_id, customer, id),
    -- Looking an order up by the shop's own number.
    KEY orders_by_reference (tenant_id, external_reference, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The primary key keeps an order's timeline together, in order, and refuses a sequence twice.
CREATE TABLE order_events (
    order_id        BINARY(16)   NOT NULL,
    sequence        BIGINT       NOT NULL,
    status          VARCHAR(10)  NOT NULL,
    previous_status VARCHAR(10)  NULL,
    attempt         BIGINT       NOT NULL,
    reason          VARCHAR(500) NULL,
    occurred_at     BIGINT       NOT NULL,
    PRIMARY KEY (order_id, sequence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Keys are bytes: 'Key-A' and 'key-a' are two keys.
CREATE TABLE idempotency_keys (
    tenant_id       VARCHAR(64)    NOT NULL,
    idempotency_key VARBINARY(255) NOT NULL,
    request_hash    BINARY(32)     NOT NULL,
    order_id        BINARY(16)     NOT NULL,
    created_at      BIGINT         NOT NULL,
    expires_at      BIGINT         NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key),
    -- Pruning what has expired.
    KEY idempotency_keys_expiry (expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
