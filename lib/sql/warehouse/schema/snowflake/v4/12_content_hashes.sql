-- Grain: one row per part of the tables' content (part names the table, key what of it: source and day of the facts, a run,
-- a source). The hash is of the rows as a set: a row altered behind the pipeline's back is found by it.
CREATE TABLE IF NOT EXISTS content_hashes (
    part VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    row_count NUMBER(38, 0) NOT NULL,
    hash VARCHAR NOT NULL,
    PRIMARY KEY (part, key)
)
