-- Grain: one row per contending version of a contended visit: the batch's accepted versions inside the window, those of its
-- context, and the table's own. Key: (visit_id, place). Order: (stamp, delivery_seq, source_line), the table's own before
-- an equal one. A version that equals the one before it in values is no change.
SELECT
    *,
    row_number() OVER w AS place,
    lag(row_hash) OVER w IS DISTINCT FROM row_hash$carried_differ AS is_change,
    lag(stamp) OVER w IS NOT DISTINCT FROM stamp AS is_same_stamp
FROM (
    SELECT
        visit_id,
        stamp,
        delivery_seq,
        source_line,
        patient_id,
        provider_id,
        diagnosis_code,
        visit_date,
        visit_cost_cents,
        $row_hash AS row_hash,
        is_context,
        false AS is_current$carried
    FROM versions
    SEMI JOIN contended USING (visit_id)
    UNION ALL
    SELECT
        visit_id,
        stamp,
        delivery_seq,
        source_line,
        NULL AS patient_id,
        NULL AS provider_id,
        NULL AS diagnosis_code,
        visit_date,
        NULL AS visit_cost_cents,
        row_hash,
        false AS is_context,
        true AS is_current$carried
    FROM current_versions
    SEMI JOIN contended USING (visit_id)
    WHERE NOT $refresh
)
WINDOW w AS (PARTITION BY visit_id ORDER BY stamp, delivery_seq, source_line, NOT is_current)
