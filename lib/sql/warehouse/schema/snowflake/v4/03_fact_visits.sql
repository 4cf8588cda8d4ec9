-- Grain: one row per (source, visit_id), the visit's current version. Keys are not enforced here: `verify` checks them.
-- Stamps are UTC. visit_cost is visit_cost_cents / 100, written with it.
CREATE TABLE IF NOT EXISTS fact_visits (
    source VARCHAR NOT NULL,
    visit_id VARCHAR NOT NULL,
    patient_id VARCHAR NOT NULL,
    provider_id VARCHAR,
    diagnosis_code VARCHAR,
    visit_date DATE NOT NULL,
    visit_cost_cents NUMBER(38, 0),
    visit_cost NUMBER(18, 2),
    last_updated TIMESTAMP_NTZ(6) NOT NULL,
    row_hash VARCHAR NOT NULL,
    delivery_seq NUMBER(38, 0) NOT NULL,
    source_line NUMBER(38, 0) NOT NULL,
    deleted_at TIMESTAMP_NTZ(6),
    deleted_seq NUMBER(38, 0),
    PRIMARY KEY (source, visit_id)
)
