-- Grain: one row per bin of lateness, [hours_from, hours_to): how far behind the watermark a version's stamp was when it
-- came. Only versions that said something new: loaded ones (inserted or updated) and missed ones.
WITH late AS (
    SELECT
        epoch(CAST($watermark AS TIMESTAMP) - stamp) / 3600.0 AS hours,
        true AS is_loaded
    FROM staged
    WHERE action <> 'unchanged'
    UNION ALL
    SELECT
        epoch(CAST($watermark AS TIMESTAMP) - stamp) / 3600.0 AS hours,
        false AS is_loaded
    FROM outside
    WHERE fate = 'missed'
)
SELECT
    b.hours_from,
    b.hours_to,
    count(*) FILTER (WHERE l.is_loaded) AS loaded,
    count(*) FILTER (WHERE NOT l.is_loaded) AS missed
FROM (VALUES $bins) AS b (hours_from, hours_to)
LEFT JOIN late AS l ON l.hours >= b.hours_from AND (b.hours_to IS NULL OR l.hours < b.hours_to)
GROUP BY b.hours_from, b.hours_to
ORDER BY b.hours_from
