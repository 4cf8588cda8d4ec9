-- Seconds east of UTC that a written zone means; null when none is written.
CREATE MACRO zone_seconds(zone) AS
    CASE
        WHEN zone = '' THEN NULL
        WHEN zone = 'Z' THEN 0
        ELSE (CASE left(zone, 1) WHEN '-' THEN -1 ELSE 1 END)
            * (CAST(substr(zone, 2, 2) AS INTEGER) * 3600 + CAST(right(zone, 2) AS INTEGER) * 60)
    END
