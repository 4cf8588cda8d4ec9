-- Grain: one row per delivery (source, sequence) and where it stands. The delivery itself is in the raw ledger.
CREATE TABLE IF NOT EXISTS deliveries (
    source VARCHAR NOT NULL,
    sequence NUMBER(38, 0) NOT NULL,
    path VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    bytes NUMBER(38, 0) NOT NULL,
    snapshot VARCHAR NOT NULL,
    clock VARCHAR NOT NULL,
    taken_by VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    run_id VARCHAR,
    header VARCHAR,
    rows_read NUMBER(38, 0),
    comparable NUMBER(38, 0) NOT NULL DEFAULT 0,
    failed_rules VARCHAR,
    reason VARCHAR,
    rules VARCHAR,
    PRIMARY KEY (source, sequence)
)
