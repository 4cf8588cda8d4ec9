-- Grain: one row per visit_id that has more than one contending version. Key: visit_id. All others, most of them, are
-- settled as they stand.
SELECT visit_id
FROM (
    SELECT visit_id
    FROM judged
    WHERE is_accepted AND is_inside
    UNION ALL
    SELECT visit_id
    FROM current_versions
)
GROUP BY visit_id
HAVING count(*) > 1
