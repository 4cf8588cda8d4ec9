-- Grain: one row per run that loaded, written by its commit: whether a run loaded is asked here, never of its record.
CREATE TABLE IF NOT EXISTS runs (
    run_id VARCHAR NOT NULL PRIMARY KEY,
    source VARCHAR NOT NULL,
    batch VARCHAR NOT NULL,
    as_of VARCHAR NOT NULL,
    committed VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    watermark_before VARCHAR,
    watermark_after VARCHAR,
    version NUMBER(38, 0) NOT NULL,
    counts VARCHAR NOT NULL,
    rules VARCHAR
)
