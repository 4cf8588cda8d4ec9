-- Grain: one row per source. The truth of which data/state/state.json is a copy.
CREATE TABLE state (
    source VARCHAR NOT NULL PRIMARY KEY,
    watermark_last_updated VARCHAR,
    last_staging_row_count BIGINT NOT NULL,
    last_as_of VARCHAR NOT NULL,
    last_run_id VARCHAR NOT NULL
)
