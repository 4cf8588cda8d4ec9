-- Grain: one row per run and day whose metrics or visits that run changed; before is null for a new day, after for a gone one.
CREATE TABLE IF NOT EXISTS metric_changes (
    run_id STRING NOT NULL,
    visit_date DATE NOT NULL,
    visit_count_before INT64,
    visit_count_after INT64,
    patient_count_before INT64,
    patient_count_after INT64,
    total_visit_cost_cents_before INT64,
    total_visit_cost_cents_after INT64,
    avg_visit_cost_cents_before INT64,
    avg_visit_cost_cents_after INT64,
    missing_cost_count_before INT64,
    missing_cost_count_after INT64,
    visits_inserted INT64 NOT NULL,
    visits_late INT64 NOT NULL,
    visits_corrected INT64 NOT NULL,
    visits_moved_in INT64 NOT NULL,
    visits_moved_out INT64 NOT NULL,
    visits_removed INT64 NOT NULL,
    visits_deleted INT64 NOT NULL,
    visits_restored INT64 NOT NULL
)
