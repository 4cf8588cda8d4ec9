-- Grain: one row per visit_date with at least one visit; always the GROUP BY of fact_visits over all sources.
CREATE TABLE IF NOT EXISTS daily_visit_metrics (
    visit_date DATE NOT NULL PRIMARY KEY,
    visit_count NUMBER(38, 0) NOT NULL,
    patient_count NUMBER(38, 0) NOT NULL,
    total_visit_cost_cents NUMBER(38, 0) NOT NULL,
    total_visit_cost NUMBER(18, 2),
    avg_visit_cost_cents NUMBER(38, 0),
    avg_visit_cost NUMBER(18, 2),
    missing_cost_count NUMBER(38, 0) NOT NULL
)
