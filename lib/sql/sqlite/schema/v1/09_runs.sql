-- Grain: one row per run that ended with a word about its deliveries; loaded ones are written by the commit itself.
CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('loaded', 'held', 'refused')),
    batch TEXT NOT NULL,
    as_of TEXT NOT NULL,
    committed TEXT NOT NULL,
    actor TEXT NOT NULL,
    watermark_before TEXT,
    watermark_after TEXT,
    version INTEGER,
    counts TEXT NOT NULL
) STRICT, WITHOUT ROWID
