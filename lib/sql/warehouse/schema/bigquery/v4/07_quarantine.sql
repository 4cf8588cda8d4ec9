-- Grain: one row per refused text, keyed by its identity (SHA-256 of the source and the raw texts). A waiver names who let it
-- be, when, why, and the last day (UTC) on which it counts.
CREATE TABLE IF NOT EXISTS quarantine (
    identity STRING NOT NULL,
    source STRING NOT NULL,
    visit_key STRING,
    stamp STRING,
    reasons STRING NOT NULL,
    visit_id STRING,
    patient_id STRING,
    provider_id STRING,
    diagnosis_code STRING,
    visit_date STRING,
    visit_cost STRING,
    last_updated STRING,
    malformed STRING,
    first_delivery_seq INT64 NOT NULL,
    first_source_line INT64 NOT NULL,
    last_delivery_seq INT64 NOT NULL,
    status STRING NOT NULL,
    superseded_by_seq INT64,
    superseded_by_line INT64,
    superseded_in_run STRING,
    waived_by STRING,
    waived_at STRING,
    waived_why STRING,
    waived_until STRING
)
