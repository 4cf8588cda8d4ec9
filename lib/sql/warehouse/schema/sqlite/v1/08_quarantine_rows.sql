-- Grain: one row per refused row of a loaded delivery: where each quarantined text stood.
CREATE TABLE quarantine_rows (
    source TEXT NOT NULL,
    delivery_seq INTEGER NOT NULL,
    source_line INTEGER NOT NULL,
    identity TEXT NOT NULL REFERENCES quarantine (identity),
    PRIMARY KEY (source, delivery_seq, source_line)
) STRICT, WITHOUT ROWID
