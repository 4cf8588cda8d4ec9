-- Grain: one row per visit_date with at least one visit; always the GROUP BY of fact_visits over all sources.
CREATE TABLE IF NOT EXISTS daily_visit_metrics (
    visit_date DATE NOT NULL,
    visit_count INT64 NOT NULL,
    patient_count INT64 NOT NULL,
    total_visit_cost_cents INT64 NOT NULL,
    total_visit_cost NUMERIC,
    avg_visit_cost_cents INT64,
    avg_visit_cost NUMERIC,
    missing_cost_count INT64 NOT NULL
)
