-- Grain: one row per run that changed the day, oldest first, with the rules of the run before it of the same source.
SELECT
    c.*,
    r.source,
    r.batch,
    r.committed,
    r.rules,
    r.rules_before
FROM metric_changes AS c
JOIN (
    SELECT
        run_id,
        source,
        batch,
        committed,
        version,
        rules,
        LAG(rules) OVER (PARTITION BY source ORDER BY version) AS rules_before
    FROM runs
) AS r ON r.run_id = c.run_id
WHERE c.visit_date = :day
ORDER BY r.version
