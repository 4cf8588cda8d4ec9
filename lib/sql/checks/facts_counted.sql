-- Grain: one row per source: its facts, and those of them that are not deleted. Reads every one.
SELECT
    source,
    COUNT(*) AS facts,
    COUNT(*) - COUNT(deleted_at) AS standing
FROM fact_visits
GROUP BY source
