-- Grain: one row per whole hour of lateness ever seen of the source, ascending: versions loaded or missed.
SELECT
    l.hours,
    sum(l.loaded + l.missed) AS versions
FROM lateness AS l
JOIN runs AS r USING (run_id)
WHERE r.source = ?
GROUP BY l.hours
ORDER BY l.hours
