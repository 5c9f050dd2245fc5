-- Webhooks. migrations/mysql/0004_webhooks.sql has the same tables, columns and indexes.

-- The endpoints to which events are sent. Each reads the event log from its position, so an event has no row here.
CREATE TABLE webhook_endpoints (
    -- A UUID version 7.
    endpoint_id       BLOB           NOT NULL,
    tenant_id         VARCHAR(64)    NOT NULL,
    description       VARCHAR(200)   NOT NULL,
    url               VARCHAR(2000)  NOT NULL,
    -- Words separated by commas.
    types             VARCHAR(300)   NOT NULL,
    -- Only events of orders with this value; NULL is all.
    customer          VARCHAR(200)   NULL,
    currency          CHAR(3)        NULL,
    payload           VARCHAR(16)    NOT NULL,
    format            VARCHAR(16)    NOT NULL,
    -- Encrypted; see gateway/webhooks/src/secrets.rs.
    secrets           BLOB           NOT NULL,
    rate_per_s        INT            NULL,
    concurrency       INT            NOT NULL,
    created_at        BIGINT         NOT NULL,
    created_by        VARCHAR(200)   NOT NULL,
    -- Changed by every change of a user, so that the holder of the lease reads the row again.
    version           BIGINT         NOT NULL,
    changed_at        BIGINT         NOT NULL,

    -- `active`, `failing` or `disabled`, with the reason of the latter.
    state             VARCHAR(16)    NOT NULL,
    disabled_reason   VARCHAR(16)    NULL,
    -- The first failure since the last success.
    failing_since     BIGINT         NULL,
    -- Probes since the endpoint is failing, and the warnings that were sent.
    failures          INT            NOT NULL,
    warnings          INT            NOT NULL,
    last_error        VARCHAR(500)   NULL,
    -- The next probe of a failing endpoint.
    due_at            BIGINT         NOT NULL,

    -- The log position up to which every event was delivered, or needs no delivery.
    position          BIGINT         NOT NULL,
    -- The positions after it that were delivered: differences as variable-length integers.
    acked             BLOB           NOT NULL,
    -- A second reader that delivers a range of the log again. NULL without one.
    replay_first      BIGINT         NULL,
    replay_position   BIGINT         NULL,
    replay_last       BIGINT         NULL,
    replay_acked      BLOB           NULL,
    replay_started_at BIGINT         NULL,

    -- The gateway that delivers; 0 without one.
    holder            BIGINT         NOT NULL,
    held_until        BIGINT         NOT NULL,
    PRIMARY KEY (endpoint_id)
) WITHOUT ROWID;

CREATE INDEX webhook_endpoints_by_tenant ON webhook_endpoints (tenant_id, endpoint_id);
CREATE INDEX webhook_endpoints_by_lease ON webhook_endpoints (held_until);
CREATE INDEX webhook_endpoints_by_change ON webhook_endpoints (changed_at);

-- Messages that are sent besides the reader of their endpoint: events whose delivery failed while others succeeded, the later
-- events of their orders, and notices about other endpoints.
CREATE TABLE webhook_messages (
    endpoint_id BLOB         NOT NULL,
    -- The id of the event or of the notice.
    message_id  VARCHAR(64)  NOT NULL,
    -- Of an event; NULL of a notice.
    order_id    BLOB         NULL,
    sequence    INT          NULL,
    position    BIGINT       NULL,
    -- `waiting` or `failed`.
    state       VARCHAR(16)  NOT NULL,
    -- The attempts that were made.
    attempts    INT          NOT NULL,
    due_at      BIGINT       NOT NULL,
    created_at  BIGINT       NOT NULL,
    last_error  VARCHAR(500) NULL,
    -- The body of a notice.
    body        VARCHAR(2000) NULL,
    PRIMARY KEY (endpoint_id, message_id)
) WITHOUT ROWID;

CREATE INDEX webhook_messages_by_state ON webhook_messages (state, created_at);

-- The requests that were made, for their users.
CREATE TABLE webhook_attempts (
    endpoint_id BLOB           NOT NULL,
    -- A UUID version 7, so that the attempts of an endpoint are in the order of time.
    attempt_id  BLOB           NOT NULL,
    message_id  VARCHAR(64)    NOT NULL,
    type        VARCHAR(32)    NOT NULL,
    -- 1 for the first delivery of the message.
    attempt     INT            NOT NULL,
    -- 1 if the endpoint accepted it.
    succeeded   INT            NOT NULL,
    outcome     VARCHAR(16)    NOT NULL,
    -- The HTTP status; NULL without a response.
    status      INT            NULL,
    duration_us BIGINT         NOT NULL,
    error       VARCHAR(500)   NULL,
    -- The start of the body.
    response    BLOB           NOT NULL,
    PRIMARY KEY (endpoint_id, attempt_id)
) WITHOUT ROWID;

CREATE INDEX webhook_attempts_by_outcome ON webhook_attempts (endpoint_id, succeeded, attempt_id);
CREATE INDEX webhook_attempts_by_time ON webhook_attempts (attempt_id);
