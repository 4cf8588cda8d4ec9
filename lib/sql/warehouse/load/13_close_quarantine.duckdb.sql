-- An entry closes when a greater version of its visit was accepted: by (stamp, delivery, line), or, where its own stamp
-- could not be read or lay in the future, by (delivery, line). It names that version; of several the one delivered last.
UPDATE quarantine AS q
SET
    status = 'superseded',
    superseded_by_seq = a.delivery_seq,
    superseded_by_line = a.source_line,
    superseded_in_run = :run_id
FROM (
    WITH waiting AS (
        SELECT identity, visit_key, stamp, first_delivery_seq, first_source_line
        FROM quarantine
        WHERE source = :source AND status IN ('open', 'waived') AND identity IN (SELECT identity FROM temp.touched_entries)
    ),
    staged AS MATERIALIZED (
        SELECT
            visit_id,
            latest_stamp,
            latest_seq,
            latest_line,
            last_seq,
            last_line
        FROM scratch.staged
        WHERE visit_id IN (SELECT visit_key FROM waiting)
    ),
    versions AS (
        SELECT
            visit_id,
            strftime(latest_stamp, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp,
            latest_seq AS delivery_seq,
            latest_line AS source_line
        FROM staged
        UNION ALL
        SELECT
            visit_id,
            NULL AS stamp,
            last_seq AS delivery_seq,
            last_line AS source_line
        FROM staged
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
            strftime(last_updated, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp,
            delivery_seq,
            source_line
        FROM fact_visits
        WHERE source = :source AND visit_id IN (SELECT visit_key FROM scratch.rejected)
    )
    SELECT
        w.identity,
        v.delivery_seq,
        v.source_line
    FROM waiting AS w
    JOIN versions AS v ON v.visit_id = w.visit_key
    WHERE
        CASE
            WHEN w.stamp IS NULL
                THEN (v.delivery_seq, v.source_line) > (w.first_delivery_seq, w.first_source_line)
            ELSE v.stamp IS NOT NULL
                AND (v.stamp, v.delivery_seq, v.source_line) > (w.stamp, w.first_delivery_seq, w.first_source_line)
        END
    QUALIFY row_number() OVER (PARTITION BY w.identity ORDER BY v.delivery_seq DESC, v.source_line DESC) = 1
) AS a
WHERE q.identity = a.identity
