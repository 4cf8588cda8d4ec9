-- Grain: one row per delivery (source, sequence) and where it stands. The delivery itself is in the raw ledger.
CREATE TABLE IF NOT EXISTS deliveries (
    source STRING NOT NULL,
    sequence INT64 NOT NULL,
    path STRING NOT NULL,
    sha256 STRING NOT NULL,
    bytes INT64 NOT NULL,
    snapshot STRING NOT NULL,
    clock STRING NOT NULL,
    taken_by STRING NOT NULL,
    status STRING NOT NULL,
    run_id STRING,
    header STRING,
    rows_read INT64,
    comparable INT64 DEFAULT 0 NOT NULL,
    failed_rules STRING,
    reason STRING,
    rules STRING
)
