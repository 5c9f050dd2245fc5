-- The twin of migrations/sqlite/0009_steady_time.sql: a time that runs while a gateway runs and does not jump, so that a
-- gateway which starts after the clock was set forward removes nothing too early. 0: not known yet.

ALTER TABLE installation ADD COLUMN steady_at BIGINT NOT NULL DEFAULT 0;
