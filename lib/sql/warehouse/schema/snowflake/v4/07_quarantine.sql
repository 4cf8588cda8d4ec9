-- Grain: one row per refused text, keyed by its identity (SHA-256 of the source and the raw texts). A waiver names who let it
-- be, when, why, and the last day (UTC) on which it counts.
CREATE TABLE IF NOT EXISTS quarantine (
    identity VARCHAR NOT NULL PRIMARY KEY,
    source VARCHAR NOT NULL,
    visit_key VARCHAR,
    stamp VARCHAR,
    reasons VARCHAR NOT NULL,
    visit_id VARCHAR,
    patient_id VARCHAR,
    provider_id VARCHAR,
    diagnosis_code VARCHAR,
    visit_date VARCHAR,
    visit_cost VARCHAR,
    last_updated VARCHAR,
    malformed VARCHAR,
    first_delivery_seq NUMBER(38, 0) NOT NULL,
    first_source_line NUMBER(38, 0) NOT NULL,
    last_delivery_seq NUMBER(38, 0) NOT NULL,
    status VARCHAR NOT NULL,
    superseded_by_seq NUMBER(38, 0),
    superseded_by_line NUMBER(38, 0),
    superseded_in_run VARCHAR,
    waived_by VARCHAR,
    waived_at VARCHAR,
    waived_why VARCHAR,
    waived_until VARCHAR
)
