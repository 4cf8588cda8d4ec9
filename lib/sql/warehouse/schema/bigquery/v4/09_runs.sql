-- Grain: one row per run that loaded, written by its commit: whether a run loaded is asked here, never of its record.
CREATE TABLE IF NOT EXISTS runs (
    run_id STRING NOT NULL,
    source STRING NOT NULL,
    batch STRING NOT NULL,
    as_of STRING NOT NULL,
    committed STRING NOT NULL,
    actor STRING NOT NULL,
    watermark_before STRING,
    watermark_after STRING,
    version INT64 NOT NULL,
    counts STRING NOT NULL,
    rules STRING
)
