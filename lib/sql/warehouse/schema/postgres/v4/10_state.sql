-- Grain: one row per source. The truth of which data/state/state.json is a copy.
CREATE TABLE state (
    source TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    watermark_last_updated TEXT COLLATE "C",
    last_staging_row_count BIGINT NOT NULL,
    last_as_of TEXT COLLATE "C" NOT NULL,
    last_run_id TEXT COLLATE "C" NOT NULL
)
