-- The twin of migrations/mysql/0008_event_class.sql: events say what kind of failure they are, as the order does. Events from
-- before have none.

ALTER TABLE orders ADD COLUMN previous_error_class VARCHAR(64) NULL;

ALTER TABLE order_events ADD COLUMN error_class VARCHAR(64) NULL;
