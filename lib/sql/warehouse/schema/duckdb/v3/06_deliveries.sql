-- Grain: one row per delivery (source, sequence) and where it stands. The delivery itself is in the raw ledger.
CREATE TABLE deliveries (
    source VARCHAR NOT NULL,
    sequence BIGINT NOT NULL,
    path VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    bytes BIGINT NOT NULL,
    snapshot VARCHAR NOT NULL,
    clock VARCHAR NOT NULL,
    taken_by VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('pending', 'loaded', 'held', 'refused', 'discarded')),
    run_id VARCHAR,
    header VARCHAR,
    rows_read BIGINT,
    comparable BIGINT NOT NULL DEFAULT 0,
    failed_rules VARCHAR,
    reason VARCHAR,
    rules VARCHAR,
    PRIMARY KEY (source, sequence)
)
