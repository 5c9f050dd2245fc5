-- Traces. migrations/sqlite/0006_traces.sql has the same column.

-- The span that created the order (see domain/src/trace_context.rs); NULL unless its trace is recorded.
ALTER TABLE orders ADD COLUMN trace BINARY(25) NULL;
