-- Grain: one row per source. The truth of which data/state/state.json is a copy.
CREATE TABLE state (
    source TEXT NOT NULL PRIMARY KEY,
    watermark_last_updated TEXT,
    last_staging_row_count INTEGER NOT NULL,
    last_as_of TEXT NOT NULL,
    last_run_id TEXT NOT NULL
) STRICT, WITHOUT ROWID
