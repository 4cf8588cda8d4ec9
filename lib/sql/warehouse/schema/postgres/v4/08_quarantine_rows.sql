-- Grain: one row per refused row of a loaded delivery: where each quarantined text stood.
CREATE TABLE quarantine_rows (
    source TEXT COLLATE "C" NOT NULL,
    delivery_seq BIGINT NOT NULL,
    source_line BIGINT NOT NULL,
    identity TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (source, delivery_seq, source_line)
)
