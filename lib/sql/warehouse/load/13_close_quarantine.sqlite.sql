-- An entry closes when a greater version of its visit was accepted: by (stamp, delivery, line), or, where its own stamp
-- could not be read or lay in the future, by (delivery, line). It names that version.
UPDATE quarantine AS q
SET
    status = 'superseded',
    superseded_by_seq = v.delivery_seq,
    superseded_by_line = v.source_line,
    superseded_in_run = :run_id
FROM (
    SELECT
        visit_id,
        latest_stamp AS stamp,
        latest_seq AS delivery_seq,
        latest_line AS source_line
    FROM scratch.versions
    UNION ALL
    SELECT
        visit_id,
        NULL AS stamp,
        last_seq AS delivery_seq,
        last_line AS source_line
    FROM scratch.versions
    UNION ALL
    SELECT
        visit_id,
        stamp,
        delivery_seq,
        source_line
    FROM scratch.answers
    UNION ALL
    SELECT
        f.visit_id,
        f.last_updated AS stamp,
        f.delivery_seq,
        f.source_line
    FROM (SELECT DISTINCT visit_key FROM scratch.rejected) AS r
    CROSS JOIN fact_visits AS f
    WHERE f.source = :source AND f.visit_id = r.visit_key
) AS v
WHERE q.status IN ('open', 'waived')
    AND q.source = :source
    AND q.visit_key = v.visit_id
    AND CASE
        WHEN q.stamp IS NULL
            THEN (v.delivery_seq, v.source_line) > (q.first_delivery_seq, q.first_source_line)
        ELSE v.stamp IS NOT NULL
            AND (v.stamp, v.delivery_seq, v.source_line) > (q.stamp, q.first_delivery_seq, q.first_source_line)
    END
