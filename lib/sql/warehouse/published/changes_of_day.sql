-- Grain: one row per run that changed the day, oldest first, with the rules of the run before it of the same source.
SELECT
    c.*,
    r.source,
    r.batch,
    r.committed,
    r.rules,
    (
        SELECT p.rules
        FROM runs AS p
        WHERE p.source = r.source AND p.version < r.version
        ORDER BY p.version DESC
        LIMIT 1
    ) AS rules_before
FROM metric_changes AS c
JOIN runs AS r USING (run_id)
WHERE c.visit_date = :day
ORDER BY r.version
