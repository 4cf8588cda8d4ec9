-- Grain: one row per source. The truth of which data/state/state.json is a copy.
CREATE TABLE IF NOT EXISTS state (
    source VARCHAR NOT NULL PRIMARY KEY,
    watermark_last_updated VARCHAR,
    last_staging_row_count NUMBER(38, 0) NOT NULL,
    last_as_of VARCHAR NOT NULL,
    last_run_id VARCHAR NOT NULL
)
