-- Grain: one row per run and day whose metrics or visits that run changed; before is null for a new day, after for a gone one.
CREATE TABLE metric_changes (
    run_id TEXT NOT NULL,
    visit_date TEXT NOT NULL,
    visit_count_before INTEGER,
    visit_count_after INTEGER,
    patient_count_before INTEGER,
    patient_count_after INTEGER,
    total_visit_cost_cents_before INTEGER,
    total_visit_cost_cents_after INTEGER,
    avg_visit_cost_cents_before INTEGER,
    avg_visit_cost_cents_after INTEGER,
    missing_cost_count_before INTEGER,
    missing_cost_count_after INTEGER,
    visits_inserted INTEGER NOT NULL,
    visits_corrected INTEGER NOT NULL,
    visits_moved_in INTEGER NOT NULL,
    visits_moved_out INTEGER NOT NULL,
    visits_removed INTEGER NOT NULL,
    PRIMARY KEY (run_id, visit_date)
) STRICT, WITHOUT ROWID
