-- The zone's offset at a local time: of the last step before it. By year, so that few steps are compared with a time.
LEFT JOIN (
    SELECT
        explode(sequence(year(local_from), coalesce(year(local_until), 9999))) AS local_year,
        local_from,
        local_until,
        offset_seconds
    FROM (
        SELECT
            *,
            lead(local_from) OVER (ORDER BY local_from) AS local_until
        FROM zone_steps
    )
) AS z
    ON z.local_year = year(p.local_stamp)
    AND p.local_stamp >= z.local_from
    AND (z.local_until IS NULL OR p.local_stamp < z.local_until)
