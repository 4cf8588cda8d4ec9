-- Grain: one row per column of a visit (kind), value in it and source: how many visits have it, deleted ones apart. No value is
-- the value ''. A load changes it by what it changes of the facts: what is asked of all visits need not read them.
CREATE TABLE IF NOT EXISTS visit_value_counts (
    kind VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    visits NUMBER(38, 0) NOT NULL,
    PRIMARY KEY (kind, value, source)
)
