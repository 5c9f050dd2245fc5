ALTER TABLE orders
    -- Totals of one currency, equal ones in the order of creation.
    ADD KEY orders_by_total (tenant_id, currency, total_minor, id);
