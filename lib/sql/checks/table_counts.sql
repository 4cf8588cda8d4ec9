-- Grain: one row: how many rows each table holds, of all sources and of :source.
WITH counted AS (
    $counted
)
SELECT
    (SELECT COALESCE(SUM(facts), 0) FROM counted) AS facts,
    (SELECT COALESCE(SUM(facts), 0) FROM counted WHERE source = :source) AS facts_of_source,
    (SELECT COALESCE(SUM(facts - standing), 0) FROM counted) AS facts_deleted,
    (SELECT COUNT(*) FROM daily_visit_metrics) AS days,
    (SELECT COALESCE(SUM(visit_count), 0) FROM daily_visit_metrics) AS visits_in_metrics,
    (SELECT COUNT(*) FROM quarantine WHERE source = :source AND status = 'open') AS quarantine_open,
    (SELECT COUNT(*) FROM quarantine WHERE source = :source AND status = 'superseded') AS quarantine_closed,
    (SELECT COUNT(*) FROM quarantine WHERE source = :source AND status = 'waived') AS quarantine_waived,
    (SELECT COUNT(*) FROM quarantine_rows WHERE source = :source) AS quarantine_rows,
    (SELECT COUNT(*) FROM deliveries WHERE source = :source AND status = 'loaded') AS deliveries_loaded
