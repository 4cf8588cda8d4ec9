-- Grain: one row per run and day whose metrics or visits that run changed; before is null for a new day, after for a gone one.
CREATE TABLE metric_changes (
    run_id TEXT COLLATE "C" NOT NULL,
    visit_date DATE NOT NULL,
    visit_count_before BIGINT,
    visit_count_after BIGINT,
    patient_count_before BIGINT,
    patient_count_after BIGINT,
    total_visit_cost_cents_before BIGINT,
    total_visit_cost_cents_after BIGINT,
    avg_visit_cost_cents_before BIGINT,
    avg_visit_cost_cents_after BIGINT,
    missing_cost_count_before BIGINT,
    missing_cost_count_after BIGINT,
    visits_inserted BIGINT NOT NULL,
    visits_late BIGINT NOT NULL,
    visits_corrected BIGINT NOT NULL,
    visits_moved_in BIGINT NOT NULL,
    visits_moved_out BIGINT NOT NULL,
    visits_removed BIGINT NOT NULL,
    visits_deleted BIGINT NOT NULL,
    visits_restored BIGINT NOT NULL,
    PRIMARY KEY (run_id, visit_date)
)
