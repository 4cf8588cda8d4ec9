-- Grain: one row per (source, visit_id), the visit's current version. Stamps are UTC text of fixed width.
CREATE TABLE fact_visits (
    source TEXT NOT NULL,
    visit_id TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    provider_id TEXT,
    diagnosis_code TEXT,
    visit_date TEXT NOT NULL CHECK (length(visit_date) = 10),
    visit_cost_cents INTEGER CHECK (visit_cost_cents >= 0),
    visit_cost REAL GENERATED ALWAYS AS (visit_cost_cents / 100.0) VIRTUAL,
    last_updated TEXT NOT NULL CHECK (length(last_updated) = 32),
    row_hash TEXT NOT NULL CHECK (length(row_hash) = 64),
    delivery_seq INTEGER NOT NULL,
    source_line INTEGER NOT NULL,
    PRIMARY KEY (source, visit_id)
) STRICT, WITHOUT ROWID
