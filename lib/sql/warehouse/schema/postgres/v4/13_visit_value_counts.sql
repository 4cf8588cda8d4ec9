-- Grain: one row per column of a visit (kind), value in it and source: how many visits have it, deleted ones apart. No value is
-- the value ''. A load changes it by what it changes of the facts: what is asked of all visits need not read them.
CREATE TABLE visit_value_counts (
    kind TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    visits BIGINT NOT NULL,
    PRIMARY KEY (kind, value, source)
)
