-- An entry closes when the table holds a version of its visit with an equal or later stamp, or, where its own stamp could
-- not be read, one delivered after it. It names that version.
UPDATE quarantine AS q
SET
    status = 'superseded',
    superseded_by_seq = f.delivery_seq,
    superseded_by_line = f.source_line,
    superseded_in_run = :run_id
FROM fact_visits AS f
WHERE q.status = 'open'
    AND q.source = :source
    AND f.source = q.source
    AND f.visit_id = q.visit_key
    AND CASE
        WHEN q.stamp IS NOT NULL THEN f.last_updated >= q.stamp
        ELSE (f.delivery_seq, f.source_line) > (
            SELECT
                r.delivery_seq,
                r.source_line
            FROM quarantine_rows AS r
            WHERE r.identity = q.identity
            ORDER BY r.delivery_seq, r.source_line
            LIMIT 1
        )
    END
