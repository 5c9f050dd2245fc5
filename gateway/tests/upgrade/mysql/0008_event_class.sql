ALTER TABLE orders ADD COLUMN previous_error_class VARCHAR(64) NULL;

ALTER TABLE order_events ADD COLUMN error_class VARCHAR(64) NULL;
