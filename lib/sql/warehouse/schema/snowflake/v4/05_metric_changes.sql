-- Grain: one row per run and day whose metrics or visits that run changed; before is null for a new day, after for a gone one.
CREATE TABLE IF NOT EXISTS metric_changes (
    run_id VARCHAR NOT NULL,
    visit_date DATE NOT NULL,
    visit_count_before NUMBER(38, 0),
    visit_count_after NUMBER(38, 0),
    patient_count_before NUMBER(38, 0),
    patient_count_after NUMBER(38, 0),
    total_visit_cost_cents_before NUMBER(38, 0),
    total_visit_cost_cents_after NUMBER(38, 0),
    avg_visit_cost_cents_before NUMBER(38, 0),
    avg_visit_cost_cents_after NUMBER(38, 0),
    missing_cost_count_before NUMBER(38, 0),
    missing_cost_count_after NUMBER(38, 0),
    visits_inserted NUMBER(38, 0) NOT NULL,
    visits_late NUMBER(38, 0) NOT NULL,
    visits_corrected NUMBER(38, 0) NOT NULL,
    visits_moved_in NUMBER(38, 0) NOT NULL,
    visits_moved_out NUMBER(38, 0) NOT NULL,
    visits_removed NUMBER(38, 0) NOT NULL,
    visits_deleted NUMBER(38, 0) NOT NULL,
    visits_restored NUMBER(38, 0) NOT NULL,
    PRIMARY KEY (run_id, visit_date)
)
