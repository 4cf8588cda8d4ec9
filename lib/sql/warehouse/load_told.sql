-- Grain: one row, if the run was loaded: what its load did to the published days, summed over them, and how the tables
-- stand now.
SELECT
    r.source,
    r.version,
    r.watermark_after,
    count(c.visit_date) AS days_touched,
    count(c.visit_count_before) AS days_restated,
    coalesce(sum(c.visits_inserted), 0) AS inserted,
    coalesce(sum(c.visits_late), 0) AS late,
    coalesce(sum(c.visits_corrected), 0) AS corrected,
    coalesce(sum(c.visits_moved_in), 0) AS moved,
    coalesce(sum(c.visits_removed), 0) AS removed,
    coalesce(sum(c.visits_deleted), 0) AS deleted,
    coalesce(sum(c.visits_restored), 0) AS restored,
    (SELECT count(*) FROM quarantine AS q WHERE q.source = r.source AND q.status = 'open') AS quarantine_open,
    (SELECT coalesce(sum(visit_count), 0) FROM daily_visit_metrics) AS visits_counted,
    (SELECT coalesce(sum(missing_cost_count), 0) FROM daily_visit_metrics) AS visits_without_cost
FROM runs AS r
LEFT JOIN metric_changes AS c USING (run_id)
WHERE r.run_id = ?
GROUP BY r.source, r.version, r.watermark_after
