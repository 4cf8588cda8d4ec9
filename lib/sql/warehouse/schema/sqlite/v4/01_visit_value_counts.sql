-- Grain: one row per column of a visit (kind), value in it and source: how many visits have it, deleted ones apart. No value is
-- the value ''. A load changes it by what it changes of the facts: what is asked of all visits need not read them.
CREATE TABLE visit_value_counts (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    source TEXT NOT NULL,
    visits INTEGER NOT NULL,
    PRIMARY KEY (kind, value, source)
) STRICT, WITHOUT ROWID
