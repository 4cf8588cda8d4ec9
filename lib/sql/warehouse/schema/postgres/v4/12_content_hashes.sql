-- Grain: one row per part of the tables' content (part names the table, key what of it: source and day of the facts, a run,
-- a source). The hash is of the rows as a set: a row altered behind the pipeline's back is found by it.
CREATE TABLE content_hashes (
    part TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    row_count BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL CHECK (length(hash) = 64),
    PRIMARY KEY (part, key)
)
