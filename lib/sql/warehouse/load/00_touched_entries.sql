-- Grain: one row per quarantine entry that the load may change: refused again, answered, or waived until some day.
CREATE TEMP TABLE touched_entries AS
SELECT identity FROM scratch.rejected
UNION
SELECT identity
FROM quarantine
WHERE source = :source
    AND status IN ('open', 'waived')
    AND (
        status = 'waived'
        OR visit_key IN (SELECT visit_id FROM scratch.staged)
        OR visit_key IN (SELECT visit_id FROM scratch.answers)
    )
