-- Grain: one row per run that loaded, written by its commit: whether a run loaded is asked here, never of its record.
CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    batch TEXT NOT NULL,
    as_of TEXT NOT NULL,
    committed TEXT NOT NULL,
    actor TEXT NOT NULL,
    watermark_before TEXT,
    watermark_after TEXT,
    version INTEGER NOT NULL,
    counts TEXT NOT NULL
) STRICT, WITHOUT ROWID
