-- Grain: one row per visit that this batch inserts, updates, deletes, restores or (full refresh) removes: the day it counted
-- under before and the one it counts under after. A deleted visit counts under none; an unchanged one keeps the table's day,
-- whatever older version of it the batch holds. Only the days that the batch may touch are read.
CREATE TEMP TABLE visit_changes AS
SELECT
    s.visit_id,
    f.visit_id IS NULL AS is_new,
    f.visit_id IS NULL AND coalesce(s.last_updated < CAST(:committed_watermark AS TIMESTAMP), false) AS is_late,
    false AS is_removed,
    CASE WHEN f.deleted_seq IS NULL THEN f.visit_date END AS day_before,
    CASE
        WHEN CASE WHEN d.visit_id IS NOT NULL THEN d.deleted_seq WHEN NOT :refresh THEN f.deleted_seq END IS NULL
            THEN CASE s.action WHEN 'unchanged' THEN f.visit_date ELSE s.visit_date END
    END AS day_after,
    s.action <> 'unchanged' AS is_changed
FROM scratch.staged AS s
LEFT JOIN fact_visits AS f ON f.source = :source AND f.visit_id = s.visit_id AND f.visit_date :days
LEFT JOIN scratch.deletions AS d ON d.visit_id = s.visit_id
WHERE s.action <> 'unchanged' OR d.visit_id IS NOT NULL OR (:refresh AND f.deleted_seq IS NOT NULL)
UNION ALL
SELECT
    f.visit_id,
    false AS is_new,
    false AS is_late,
    false AS is_removed,
    CASE WHEN f.deleted_seq IS NULL THEN f.visit_date END AS day_before,
    CASE WHEN d.deleted_seq IS NULL THEN f.visit_date END AS day_after,
    false AS is_changed
FROM scratch.deletions AS d
JOIN fact_visits AS f ON f.source = :source AND f.visit_id = d.visit_id AND f.visit_date :days
WHERE NOT EXISTS (SELECT 1 FROM scratch.staged AS s WHERE s.visit_id = d.visit_id)
UNION ALL
SELECT
    f.visit_id,
    false AS is_new,
    false AS is_late,
    true AS is_removed,
    CASE WHEN f.deleted_seq IS NULL THEN f.visit_date END AS day_before,
    CAST(NULL AS DATE) AS day_after,
    true AS is_changed
FROM fact_visits AS f
WHERE :refresh
    AND f.source = :source
    AND NOT EXISTS (SELECT 1 FROM scratch.staged AS s WHERE s.visit_id = f.visit_id)
