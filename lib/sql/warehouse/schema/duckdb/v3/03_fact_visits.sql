-- Grain: one row per (source, visit_id), the visit's current version; stamps are UTC. Without a key of its own: an index of all
-- visits in memory would cost more than the merge, which is by sets and counted. TIMESTAMP, not TIMESTAMPTZ: Python reads that
-- only where pytz is installed. Compressing row_hash would halve it, and take a third of a load's time; ids are compressed in the
-- way that takes a third of the time of the one that the engine would choose, for a few hundredths more of the file.
CREATE TABLE fact_visits (
    source VARCHAR NOT NULL,
    visit_id VARCHAR NOT NULL USING COMPRESSION zstd,
    patient_id VARCHAR NOT NULL USING COMPRESSION zstd,
    provider_id VARCHAR,
    diagnosis_code VARCHAR,
    visit_date DATE NOT NULL,
    visit_cost_cents BIGINT CHECK (visit_cost_cents >= 0),
    visit_cost DECIMAL(18, 2) GENERATED ALWAYS AS (
        CAST(visit_cost_cents AS DECIMAL(18, 0)) * CAST(0.01 AS DECIMAL(3, 2))
    ) VIRTUAL,
    last_updated TIMESTAMP NOT NULL,
    row_hash VARCHAR NOT NULL USING COMPRESSION uncompressed,
    delivery_seq BIGINT NOT NULL,
    source_line BIGINT NOT NULL,
    deleted_at TIMESTAMP,
    deleted_seq BIGINT
)
