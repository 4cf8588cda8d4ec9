-- Grain: one row per refused text, keyed by its identity (SHA-256 of the source and the raw texts). A waiver names who let it
-- be, when, why, and the last day (UTC) on which it counts.
CREATE TABLE quarantine (
    identity VARCHAR NOT NULL,
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
    first_delivery_seq BIGINT NOT NULL,
    first_source_line BIGINT NOT NULL,
    last_delivery_seq BIGINT NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('open', 'superseded', 'waived')),
    superseded_by_seq BIGINT,
    superseded_by_line BIGINT,
    superseded_in_run VARCHAR,
    waived_by VARCHAR,
    waived_at VARCHAR,
    waived_why VARCHAR,
    waived_until VARCHAR CHECK (length(waived_until) = 10)
)
