-- Grain: exactly one row. The tables' own version: every commit raises it by one, compare-and-swap.
CREATE TABLE warehouse (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL
)
