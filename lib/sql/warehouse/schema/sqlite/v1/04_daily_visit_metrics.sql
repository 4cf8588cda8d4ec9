-- Grain: one row per visit_date with at least one visit; always the GROUP BY of fact_visits over all sources.
CREATE TABLE daily_visit_metrics (
    visit_date TEXT NOT NULL PRIMARY KEY,
    visit_count INTEGER NOT NULL CHECK (visit_count > 0),
    patient_count INTEGER NOT NULL,
    total_visit_cost_cents INTEGER NOT NULL,
    total_visit_cost REAL GENERATED ALWAYS AS (total_visit_cost_cents / 100.0) VIRTUAL,
    avg_visit_cost_cents INTEGER,
    avg_visit_cost REAL GENERATED ALWAYS AS (avg_visit_cost_cents / 100.0) VIRTUAL,
    missing_cost_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID
