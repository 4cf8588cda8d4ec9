-- Grain: one row per way in which this batch changes visits, with how many: inserts, updates, deletes, restores or (full
-- refresh) removes; the day they counted under before and the one they count under after. A deleted visit counts under none; an
-- unchanged one keeps the table's day, whatever older version of it the batch holds.
CREATE TEMP TABLE visit_changes AS
SELECT
    *,
    count(*) AS visits
FROM (
    SELECT
        f.visit_id IS NULL AS is_new,
        f.visit_id IS NULL AND s.last_updated < :committed_watermark AS is_late,
        0 AS is_removed,
        CASE WHEN f.deleted_seq IS NULL THEN f.visit_date END AS day_before,
        CASE
            WHEN CASE WHEN d.visit_id IS NOT NULL THEN d.deleted_seq WHEN NOT :refresh THEN f.deleted_seq END IS NULL
                THEN CASE s.action WHEN 'unchanged' THEN f.visit_date ELSE s.visit_date END
        END AS day_after,
        s.action <> 'unchanged' AS is_changed
    FROM scratch.staged AS s
    LEFT JOIN temp.standing AS f ON f.visit_id = s.visit_id
    LEFT JOIN scratch.deletions AS d ON d.visit_id = s.visit_id
    WHERE s.action <> 'unchanged' OR d.visit_id IS NOT NULL OR (:refresh AND f.deleted_seq IS NOT NULL)
    UNION ALL
    SELECT
        0 AS is_new,
        0 AS is_late,
        0 AS is_removed,
        CASE WHEN f.deleted_seq IS NULL THEN f.visit_date END AS day_before,
        CASE WHEN d.deleted_seq IS NULL THEN f.visit_date END AS day_after,
        0 AS is_changed
    FROM scratch.deletions AS d
    JOIN temp.standing AS f ON f.visit_id = d.visit_id
    WHERE NOT EXISTS (SELECT 1 FROM scratch.staged AS s WHERE s.visit_id = d.visit_id)
    UNION ALL
    SELECT
        0 AS is_new,
        0 AS is_late,
        1 AS is_removed,
        CASE WHEN f.deleted_seq IS NULL THEN f.visit_date END AS day_before,
        NULL AS day_after,
        1 AS is_changed
    FROM temp.standing AS f
    WHERE :refresh
        AND NOT EXISTS (SELECT 1 FROM scratch.staged AS s WHERE s.visit_id = f.visit_id)
)
GROUP BY ALL
