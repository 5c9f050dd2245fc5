-- The twin of migrations/sqlite/0007_installation.sql: what all gateways of one database share. The id tells
-- their messages from those of other installations on the same Redis, and the secret proves that a gateway has
-- written a message, an order id of a bulk create or a lease token. The row must not be changed or removed:
-- repetitions of bulk creates are recognised with it.

CREATE TABLE installation (
    -- Always 1: there is one row.
    single TINYINT    NOT NULL,
    id     BINARY(16) NOT NULL,
    secret BINARY(32) NOT NULL,
    PRIMARY KEY (single)
) ENGINE = InnoDB;

INSERT IGNORE INTO installation (single, id, secret) VALUES (1, RANDOM_BYTES(16), RANDOM_BYTES(32));
