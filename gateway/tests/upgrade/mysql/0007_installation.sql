CREATE TABLE installation (
    -- Always 1: there is one row.
    single TINYINT    NOT NULL,
    id     BINARY(16) NOT NULL,
    secret BINARY(32) NOT NULL,
    PRIMARY KEY (single)
) ENGINE = InnoDB;

INSERT IGNORE INTO installation (single, id, secret) VALUES (1, RANDOM_BYTES(16), RANDOM_BYTES(32));
