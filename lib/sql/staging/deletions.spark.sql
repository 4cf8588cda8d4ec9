-- Grain: one row per visit whose deletion this batch changes. A full delivery holds a visit when it holds its id, on a refused
-- row or one outside the window too; it can tell what is gone when every id of it could be read. A visit is deleted when the
-- last delivery that holds it or can tell does not hold it, since the first telling one after the last that held it. What
-- came before this batch (delivery numbers under its oldest, with no event in it) is the table's own mark.
WITH telling AS (
    SELECT
        d.delivery_seq,
        d.clock
    FROM batch_deliveries AS d
    WHERE NOT EXISTS (
        SELECT 1
        FROM judged AS j
        WHERE j.delivery_seq = d.delivery_seq AND (j.visit_id IS NULL OR has_reason(j.reasons, 'invalid_visit_id'))
    )
),
spans AS (
    SELECT
        delivery_seq,
        coalesce(lag(delivery_seq) OVER (ORDER BY delivery_seq), -1) AS after_seq
    FROM telling
),
visits AS (
    SELECT
        visit_id,
        deleted_seq AS deleted_before,
        CASE WHEN NOT $refresh THEN deleted_seq END AS marked,
        true AS was_in_table
    FROM held
    WHERE NOT $refresh OR visit_id IN (SELECT visit_id FROM staged)
    UNION ALL
    SELECT
        visit_id,
        NULL AS deleted_before,
        NULL AS marked,
        false AS was_in_table
    FROM staged
    ANTI JOIN held USING (visit_id)
),
last_held AS (
    SELECT
        visit_id,
        max(delivery_seq) AS delivery_seq
    FROM judged
    WHERE visit_id IS NOT NULL
    GROUP BY visit_id
),
decided AS (
    SELECT
        v.*,
        CASE WHEN h.visit_id IS NULL AND v.marked < $oldest THEN v.marked ELSE t.delivery_seq END AS deleted_after
    FROM visits AS v
    LEFT JOIN last_held AS h ON h.visit_id = v.visit_id
    LEFT JOIN spans AS t
        ON t.after_seq <= coalesce(h.delivery_seq, $oldest - 1) AND coalesce(h.delivery_seq, $oldest - 1) < t.delivery_seq
)
SELECT
    d.visit_id,
    d.deleted_after AS deleted_seq,
    t.clock AS deleted_at,
    d.was_in_table AND d.deleted_before IS NULL AND d.deleted_after IS NOT NULL AS is_deleted,
    d.deleted_before IS NOT NULL AND d.deleted_after IS NULL AS is_restored
FROM decided AS d
LEFT JOIN telling AS t ON t.delivery_seq = d.deleted_after
WHERE d.deleted_after IS DISTINCT FROM d.marked OR d.deleted_after IS DISTINCT FROM d.deleted_before
