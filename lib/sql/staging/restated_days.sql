-- Grain: one row: how many published days loading this batch changes: those that a visit which is inserted, updated, deleted
-- or restored leaves or comes to. An unchanged one keeps the table's day, whatever older version of it the batch holds.
WITH changed AS (
    SELECT
        visit_id,
        s.visit_date AS staged_date,
        s.action,
        d.visit_id IS NOT NULL AS is_marked,
        d.deleted_seq
    FROM staged AS s
    FULL JOIN deletions AS d USING (visit_id)
    WHERE d.visit_id IS NOT NULL OR s.action <> 'unchanged'
),
days AS (
    SELECT
        c.action,
        CASE WHEN h.deleted_seq IS NULL THEN h.visit_date END AS day_before,
        CASE
            WHEN (CASE WHEN c.is_marked THEN c.deleted_seq ELSE h.deleted_seq END) IS NULL
                THEN CASE WHEN c.action <> 'unchanged' THEN c.staged_date ELSE h.visit_date END
        END AS day_after
    FROM changed AS c
    LEFT JOIN held AS h USING (visit_id)
)
SELECT count(DISTINCT visit_date)
FROM published_days
WHERE
    visit_date IN (SELECT day_before FROM days WHERE action <> 'unchanged' OR day_before IS DISTINCT FROM day_after)
    OR visit_date IN (SELECT day_after FROM days WHERE action <> 'unchanged' OR day_before IS DISTINCT FROM day_after)
