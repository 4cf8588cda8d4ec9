-- Grain: one row per (source, visit_id), the visit's current version. There are no keys here: `verify`
-- checks this one. Partitions are months: a table may have 10,000, which days since 1900 are not. visit_cost is visit_cost_cents / 100, written with it.
CREATE TABLE IF NOT EXISTS fact_visits (
    source STRING NOT NULL,
    visit_id STRING NOT NULL,
    patient_id STRING NOT NULL,
    provider_id STRING,
    diagnosis_code STRING,
    visit_date DATE NOT NULL,
    visit_cost_cents INT64,
    visit_cost NUMERIC,
    last_updated TIMESTAMP NOT NULL,
    row_hash STRING NOT NULL,
    delivery_seq INT64 NOT NULL,
    source_line INT64 NOT NULL,
    deleted_at TIMESTAMP,
    deleted_seq INT64
)
PARTITION BY DATE_TRUNC(visit_date, MONTH)
CLUSTER BY visit_id
