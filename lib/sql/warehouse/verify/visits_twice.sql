-- Grain: one row: how many visits are in more than one row.
SELECT COUNT(*)
FROM (
    SELECT
        source,
        visit_id
    FROM fact_visits
    GROUP BY source, visit_id
    HAVING COUNT(*) > 1
) AS twice
