-- Totals of one currency, equal ones in the order of creation.
CREATE INDEX orders_by_total ON orders (tenant_id, currency, total_minor, id);
