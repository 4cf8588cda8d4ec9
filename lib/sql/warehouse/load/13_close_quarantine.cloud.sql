-- An entry closes when a greater version of its visit was accepted: by (stamp, delivery, line), or, where its own stamp
-- could not be read or lay in the future, by (delivery, line). It names that version; of several the one delivered last.
UPDATE quarantine
SET
    status = 'superseded',
    superseded_by_seq = a.delivery_seq,
    superseded_by_line = a.source_line,
    superseded_in_run = :run_id
FROM (
    WITH versions AS (
        SELECT
            visit_id,
            CAST(latest_stamp AS TIMESTAMP) AS stamp,
            latest_seq AS delivery_seq,
            latest_line AS source_line
        FROM scratch.versions
        UNION ALL
        SELECT
            visit_id,
            CAST(NULL AS TIMESTAMP) AS stamp,
            last_seq AS delivery_seq,
            last_line AS source_line
        FROM scratch.versions
        UNION ALL
        SELECT
            visit_id,
            CAST(stamp AS TIMESTAMP) AS stamp,
            delivery_seq,
            source_line
        FROM scratch.answers
        UNION ALL
        SELECT
            visit_id,
            last_updated AS stamp,
            delivery_seq,
            source_line
        FROM fact_visits
        WHERE source = :source AND visit_id IN (SELECT visit_key FROM scratch.rejected)
    ),
    answered AS (
        SELECT
            w.identity,
            v.delivery_seq,
            v.source_line,
            ROW_NUMBER() OVER (PARTITION BY w.identity ORDER BY v.delivery_seq DESC, v.source_line DESC) AS place
        FROM quarantine AS w
        JOIN versions AS v ON v.visit_id = w.visit_key
        WHERE w.source = :source
            AND w.status IN ('open', 'waived')
            AND (
                (w.stamp IS NOT NULL AND v.stamp > CAST(w.stamp AS TIMESTAMP))
                OR (
                    (w.stamp IS NULL OR v.stamp = CAST(w.stamp AS TIMESTAMP))
                    AND (
                        v.delivery_seq > w.first_delivery_seq
                        OR (v.delivery_seq = w.first_delivery_seq AND v.source_line > w.first_source_line)
                    )
                )
            )
    )
    SELECT
        identity,
        delivery_seq,
        source_line
    FROM answered
    WHERE place = 1
) AS a
WHERE quarantine.identity = a.identity
