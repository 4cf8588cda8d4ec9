-- An entry closes when a greater version of its visit was accepted: by (stamp, delivery, line), or, where its own stamp
-- could not be read or lay in the future, by (delivery, line). It names that version; of several the one delivered last.
UPDATE quarantine AS q
SET
    status = 'superseded',
    superseded_by_seq = a.delivery_seq,
    superseded_by_line = a.source_line,
    superseded_in_run = :run_id
FROM (
    WITH versions AS (
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
            visit_id,
            to_char(last_updated AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') AS stamp,
            delivery_seq,
            source_line
        FROM fact_visits
        WHERE source = :source AND visit_id IN (SELECT visit_key FROM scratch.rejected)
    )
    SELECT DISTINCT ON (w.identity)
        w.identity,
        v.delivery_seq,
        v.source_line
    FROM quarantine AS w
    JOIN versions AS v ON v.visit_id = w.visit_key
    WHERE w.source = :source
        AND w.status IN ('open', 'waived')
        AND CASE
            WHEN w.stamp IS NULL
                THEN (v.delivery_seq, v.source_line) > (w.first_delivery_seq, w.first_source_line)
            ELSE v.stamp IS NOT NULL
                AND (v.stamp COLLATE "C", v.delivery_seq, v.source_line)
                > (w.stamp, w.first_delivery_seq, w.first_source_line)
        END
    ORDER BY w.identity, v.delivery_seq DESC, v.source_line DESC
) AS a
WHERE q.identity = a.identity
