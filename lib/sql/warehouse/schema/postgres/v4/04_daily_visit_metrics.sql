-- Grain: one row per visit_date with at least one visit; always the GROUP BY of fact_visits over all sources.
CREATE TABLE daily_visit_metrics (
    visit_date DATE NOT NULL PRIMARY KEY,
    visit_count BIGINT NOT NULL CHECK (visit_count > 0),
    patient_count BIGINT NOT NULL,
    total_visit_cost_cents BIGINT NOT NULL,
    total_visit_cost DECIMAL(18, 2) GENERATED ALWAYS AS (
        CAST(total_visit_cost_cents AS DECIMAL(18, 0)) * CAST(0.01 AS DECIMAL(3, 2))
    ) STORED,
    avg_visit_cost_cents BIGINT,
    avg_visit_cost DECIMAL(18, 2) GENERATED ALWAYS AS (
        CAST(avg_visit_cost_cents AS DECIMAL(18, 0)) * CAST(0.01 AS DECIMAL(3, 2))
    ) STORED,
    missing_cost_count BIGINT NOT NULL
)
