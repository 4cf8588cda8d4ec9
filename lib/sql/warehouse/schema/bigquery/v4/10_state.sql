-- Grain: one row per source. The truth of which data/state/state.json is a copy.
CREATE TABLE IF NOT EXISTS state (
    source STRING NOT NULL,
    watermark_last_updated STRING,
    last_staging_row_count INT64 NOT NULL,
    last_as_of STRING NOT NULL,
    last_run_id STRING NOT NULL
)
