CREATE TABLE installation (
    -- Always 1: there is one row.
    single INTEGER NOT NULL,
    id     BLOB    NOT NULL,
    secret BLOB    NOT NULL,
    PRIMARY KEY (single)
);

INSERT OR IGNORE INTO installation (single, id, secret) VALUES (1, randomblob(16), randomblob(32));
