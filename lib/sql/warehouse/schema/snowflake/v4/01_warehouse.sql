-- Grain: exactly one row. The tables' own version: every commit raises it by one, compare-and-swap. Its comment
-- says the schema's version, 0 until all tables are there.
CREATE TABLE IF NOT EXISTS warehouse (
    id NUMBER(38, 0) NOT NULL PRIMARY KEY,
    version NUMBER(38, 0) NOT NULL
)
COMMENT = 'patient visits, schema 0'
