-- The twin of migrations/mysql/0007_installation.sql: what all gateways of one database share. The id tells
-- their messages from those of other installations on the same Redis, and the secret proves that a gateway has
-- written a message, an order id of a bulk create or a lease token. The row must not be changed or removed:
-- repetitions of bulk creates are recognised with it.

CREATE TABLE installation (
    -- Always 1: there is one row.
    single INTEGER NOT NULL,
    id     BLOB    NOT NULL,
    secret BLOB    NOT NULL,
    PRIMARY KEY (single)
);

INSERT OR IGNORE INTO installation (single, id, secret) VALUES (1, randomblob(16), randomblob(32));
