-- Grain: one row per whole hour (rounded up) that versions lay behind the watermark when they came; 0: at or after it. Only
-- versions that said something new: loaded ones (inserted or updated) and missed ones. Without a watermark: no row.
SELECT
    hours_behind(stamp, $watermark) AS hours,
    count(*) FILTER (WHERE is_loaded) AS loaded,
    count(*) FILTER (WHERE NOT is_loaded) AS missed
FROM (
    SELECT
        stamp,
        true AS is_loaded
    FROM staged
    WHERE action <> 'unchanged'
    UNION ALL
    SELECT
        stamp,
        false AS is_loaded
    FROM outside
    WHERE fate = 'missed'
)
WHERE $watermark IS NOT NULL
GROUP BY hours
ORDER BY hours
