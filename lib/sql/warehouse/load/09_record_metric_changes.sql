-- Grain: one row per touched day, or day whose published metrics a full refresh put right: the metrics before and after
-- this run, and what happened to the day's visits.
INSERT INTO metric_changes (
    run_id, visit_date, visit_count_before, visit_count_after, patient_count_before, patient_count_after,
    total_visit_cost_cents_before, total_visit_cost_cents_after, avg_visit_cost_cents_before, avg_visit_cost_cents_after,
    missing_cost_count_before, missing_cost_count_after, visits_inserted, visits_late, visits_corrected, visits_moved_in,
    visits_moved_out, visits_removed, visits_deleted, visits_restored
)
SELECT
    :run_id,
    d.visit_date,
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
    coalesce(t.visits_inserted, 0),
    coalesce(t.visits_late, 0),
    coalesce(t.visits_corrected, 0),
    coalesce(t.visits_moved_in, 0),
    coalesce(t.visits_moved_out, 0),
    coalesce(t.visits_removed, 0),
    coalesce(t.visits_deleted, 0),
    coalesce(t.visits_restored, 0)
FROM (
    SELECT visit_date FROM temp.touched_days
    UNION
    SELECT visit_date FROM (SELECT * FROM temp.metrics_before EXCEPT SELECT * FROM daily_visit_metrics) AS gone
    UNION
    SELECT visit_date FROM (SELECT * FROM daily_visit_metrics WHERE :refresh EXCEPT SELECT * FROM temp.metrics_before) AS other
) AS d
LEFT JOIN temp.touched_days AS t USING (visit_date)
LEFT JOIN temp.metrics_before AS b USING (visit_date)
LEFT JOIN daily_visit_metrics AS a USING (visit_date)
