-- Grain: one row per contending version of a contended visit: the batch's accepted versions inside the window, those of its
-- context, and the table's own. Key: (visit_id, place). Order: (stamp, delivery_seq, source_line), the table's own before
-- an equal one. A version that equals the one before it in values is no change.
CREATE TABLE ordered AS
SELECT
    *,
    row_number() OVER w AS place,
    lag(row_hash) OVER w IS DISTINCT FROM row_hash$carried_differ AS is_change,
    lag(stamp) OVER w IS NOT DISTINCT FROM stamp AS is_same_stamp
FROM (
    SELECT
        v.*,
        $row_hash AS row_hash,
        false AS is_current
    FROM versions AS v
    SEMI JOIN contended USING (visit_id)
    UNION ALL BY NAME
    SELECT
        c.* EXCLUDE (deleted_seq),
        true AS is_current,
        false AS is_context
    FROM current_versions AS c
    SEMI JOIN contended USING (visit_id)
    WHERE NOT $refresh
)
WINDOW w AS (PARTITION BY visit_id ORDER BY stamp, delivery_seq, source_line, NOT is_current)
