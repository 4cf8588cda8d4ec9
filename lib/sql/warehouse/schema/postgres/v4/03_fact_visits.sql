-- Grain: one row per (source, visit_id), the visit's current version. Texts are compared by their code points, whatever the
-- database's language: the same order everywhere.
CREATE TABLE fact_visits (
    source TEXT COLLATE "C" NOT NULL,
    visit_id TEXT COLLATE "C" NOT NULL,
    patient_id TEXT COLLATE "C" NOT NULL,
    provider_id TEXT COLLATE "C",
    diagnosis_code TEXT COLLATE "C",
    visit_date DATE NOT NULL,
    visit_cost_cents BIGINT CHECK (visit_cost_cents >= 0),
    visit_cost DECIMAL(18, 2) GENERATED ALWAYS AS (
        CAST(visit_cost_cents AS DECIMAL(18, 0)) * CAST(0.01 AS DECIMAL(3, 2))
    ) STORED,
    last_updated TIMESTAMPTZ NOT NULL,
    row_hash TEXT COLLATE "C" NOT NULL,
    delivery_seq BIGINT NOT NULL,
    source_line BIGINT NOT NULL,
    deleted_at TIMESTAMPTZ,
    deleted_seq BIGINT,
    PRIMARY KEY (source, visit_id)
)
