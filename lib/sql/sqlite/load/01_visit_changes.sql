-- Grain: one row per visit that this batch inserts, updates or (full refresh) removes, with its day before and after.
CREATE TEMP TABLE visit_changes AS
SELECT
    s.visit_id,
    f.visit_date AS day_before,
    s.visit_date AS day_after
FROM scratch.staged AS s
LEFT JOIN fact_visits AS f ON f.source = :source AND f.visit_id = s.visit_id
WHERE s.action <> 'unchanged'
UNION ALL
SELECT
    f.visit_id,
    f.visit_date AS day_before,
    NULL AS day_after
FROM fact_visits AS f
WHERE :refresh
    AND f.source = :source
    AND NOT EXISTS (SELECT 1 FROM scratch.staged AS s WHERE s.visit_id = f.visit_id)
