-- Grain: one row per delivery (source, sequence) and where it stands. The delivery itself is in the raw ledger.
CREATE TABLE deliveries (
    source TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    snapshot TEXT NOT NULL,
    clock TEXT NOT NULL,
    taken_by TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'loaded', 'held', 'refused', 'discarded')),
    run_id TEXT,
    header TEXT,
    rows_read INTEGER,
    comparable INTEGER NOT NULL DEFAULT 0,
    failed_rules TEXT,
    reason TEXT,
    PRIMARY KEY (source, sequence)
) STRICT, WITHOUT ROWID
