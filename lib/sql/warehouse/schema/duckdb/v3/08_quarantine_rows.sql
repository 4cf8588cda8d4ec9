-- Grain: one row per refused row of a loaded delivery: where each quarantined text stood.
CREATE TABLE quarantine_rows (
    source VARCHAR NOT NULL,
    delivery_seq BIGINT NOT NULL,
    source_line BIGINT NOT NULL,
    identity VARCHAR NOT NULL
)
