-- Grain: one row per visit that this batch inserts, updates, deletes, restores or (full refresh) removes: the day it counted
-- under before and the one it counts under after. A deleted visit counts under none; an unchanged one keeps the table's day,
-- whatever older version of it the batch holds.
CREATE TEMP TABLE visit_changes AS
SELECT
    s.visit_id,
    f.visit_id IS NULL AS is_new,
    f.visit_id IS NULL AND s.last_updated < :committed_watermark AS is_late,
    0 AS is_removed,
    iif(f.deleted_seq IS NULL, f.visit_date, NULL) AS day_before,
    iif(
        iif(d.visit_id IS NULL, iif(:refresh, NULL, f.deleted_seq), d.deleted_seq) IS NULL,
        iif(s.action = 'unchanged', f.visit_date, s.visit_date),
        NULL
    ) AS day_after,
    s.action <> 'unchanged' AS is_changed
FROM scratch.staged AS s
LEFT JOIN fact_visits AS f ON f.source = :source AND f.visit_id = s.visit_id
LEFT JOIN scratch.deletions AS d ON d.visit_id = s.visit_id
WHERE s.action <> 'unchanged' OR d.visit_id IS NOT NULL OR (:refresh AND f.deleted_seq IS NOT NULL)
UNION ALL
SELECT
    f.visit_id,
    0 AS is_new,
    0 AS is_late,
    0 AS is_removed,
    iif(f.deleted_seq IS NULL, f.visit_date, NULL) AS day_before,
    iif(d.deleted_seq IS NULL, f.visit_date, NULL) AS day_after,
    0 AS is_changed
FROM scratch.deletions AS d
CROSS JOIN fact_visits AS f
WHERE f.source = :source
    AND f.visit_id = d.visit_id
    AND d.visit_id NOT IN (SELECT visit_id FROM scratch.staged)
UNION ALL
SELECT
    f.visit_id,
    0 AS is_new,
    0 AS is_late,
    1 AS is_removed,
    iif(f.deleted_seq IS NULL, f.visit_date, NULL) AS day_before,
    NULL AS day_after,
    1 AS is_changed
FROM fact_visits AS f
WHERE :refresh
    AND f.source = :source
    AND f.visit_id NOT IN (SELECT visit_id FROM scratch.staged)
