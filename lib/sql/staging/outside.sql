-- Grain: one row per record of the batch older than the cutoff. `held`: the table holds, after this batch, that version,
-- its equal or a greater one. `missed`: it holds a lesser one or none. `invalid`: the record has reasons.
-- What is absent is asked for first: a row of nulls would compare as the greatest. Without a cutoff `$older` is just false, and
-- nothing is read.
SELECT
    j.delivery_seq,
    j.source_line,
    j.stamp,
    CASE
        WHEN NOT j.is_accepted THEN 'invalid'
        WHEN s.visit_id IS NOT NULL
            AND (s.settled_stamp, s.settled_seq, s.settled_line) >= (j.stamp, j.delivery_seq, j.source_line) THEN 'held'
        WHEN c.visit_id IS NOT NULL
            AND (c.stamp, c.delivery_seq, c.source_line) >= (j.stamp, j.delivery_seq, j.source_line) THEN 'held'
        WHEN c.row_hash = j.row_hash$carried_same THEN 'held'
        ELSE 'missed'
    END AS fate
FROM (
    SELECT
        *,
        $row_hash AS row_hash
    FROM judged
    WHERE $older
) AS j
LEFT JOIN (
    SELECT
        visit_id,
        settled_stamp,
        settled_seq,
        settled_line
    FROM settled
    UNION ALL
    SELECT
        visit_id,
        stamp,
        delivery_seq,
        source_line
    FROM versions
    SEMI JOIN (SELECT visit_id FROM judged WHERE $older) USING (visit_id)
    ANTI JOIN contended USING (visit_id)
    WHERE NOT is_context
) AS s ON s.visit_id = j.visit_id AND j.is_accepted
LEFT JOIN current_versions AS c ON c.visit_id = j.visit_id AND j.is_accepted
