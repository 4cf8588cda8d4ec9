-- Grain: one row per refused row of a loaded delivery: where each quarantined text stood.
CREATE TABLE IF NOT EXISTS quarantine_rows (
    source STRING NOT NULL,
    delivery_seq INT64 NOT NULL,
    source_line INT64 NOT NULL,
    identity STRING NOT NULL
)
