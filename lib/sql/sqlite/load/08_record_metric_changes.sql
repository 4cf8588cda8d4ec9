-- Grain: one row per touched day: its published metrics before and after this run, and what happened to its visits.
INSERT INTO metric_changes
SELECT
    :run_id,
    t.visit_date,
    b.visit_count,
    a.visit_count,
    b.patient_count,
    a.patient_count,
    b.total_visit_cost_cents,
    a.total_visit_cost_cents,
    b.avg_visit_cost_cents,
    a.avg_visit_cost_cents,
    b.missing_cost_count,
    a.missing_cost_count,
    t.visits_inserted,
    t.visits_corrected,
    t.visits_moved_in,
    t.visits_moved_out,
    t.visits_removed
FROM temp.touched_days AS t
LEFT JOIN temp.metrics_before AS b USING (visit_date)
LEFT JOIN daily_visit_metrics AS a USING (visit_date)
