-- Grain: one row per refused row of a loaded delivery: where each quarantined text stood.
CREATE TABLE IF NOT EXISTS quarantine_rows (
    source VARCHAR NOT NULL,
    delivery_seq NUMBER(38, 0) NOT NULL,
    source_line NUMBER(38, 0) NOT NULL,
    identity VARCHAR NOT NULL,
    PRIMARY KEY (source, delivery_seq, source_line)
)
