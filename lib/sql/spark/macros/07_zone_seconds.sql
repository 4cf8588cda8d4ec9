-- Seconds east of UTC that a written zone means; null when none is written.
CREATE OR REPLACE TEMPORARY FUNCTION zone_seconds(zone STRING) RETURNS INT
RETURN CASE
    WHEN zone = '' THEN NULL
    WHEN zone = 'Z' THEN 0
    ELSE (CASE left(zone, 1) WHEN '-' THEN -1 ELSE 1 END)
        * (CAST(substr(zone, 2, 2) AS INT) * 3600 + CAST(right(zone, 2) AS INT) * 60)
END
