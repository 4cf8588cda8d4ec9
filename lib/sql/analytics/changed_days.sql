-- Grain: one row per day that the run changed. Key: day. A day that is new has 0 before, one that went has 0 after.
SELECT
    visit_date AS day,
    COALESCE(visit_count_before, 0) AS visits_before,
    COALESCE(visit_count_after, 0) AS visits_after,
    COALESCE(visit_count_before - missing_cost_count_before, 0) AS with_cost_before,
    COALESCE(visit_count_after - missing_cost_count_after, 0) AS with_cost_after,
    COALESCE(total_visit_cost_cents_before, 0) AS cents_before,
    COALESCE(total_visit_cost_cents_after, 0) AS cents_after,
    1 AS days_changed,
    visit_count_before IS NULL AS days_new,
    visit_count_after IS NULL AS days_gone,
    visits_inserted AS inserted,
    visits_late AS late,
    visits_corrected AS corrected,
    visits_moved_in AS moved_in,
    visits_moved_out AS moved_out,
    visits_removed AS removed,
    visits_deleted AS deleted,
    visits_restored AS restored
FROM metric_changes
WHERE run_id = :run_id
ORDER BY visit_date
