-- Grain: exactly one row. The tables' own version: every commit raises it by one, compare-and-swap. Its
-- description says the schema's version, 0 until all tables are there.
CREATE TABLE IF NOT EXISTS warehouse (
    id INT64 NOT NULL,
    version INT64 NOT NULL
)
OPTIONS (description = 'patient visits, schema 0')
