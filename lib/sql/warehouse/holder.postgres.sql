-- Grain: at most one row: the session that holds the advisory lock of the key, as it named itself, and since when.
SELECT
    a.application_name,
    a.backend_start
FROM pg_locks AS l
JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory'
    AND l.granted
    AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (CAST(l.classid AS BIGINT) << 32) | CAST(l.objid AS BIGINT) = hashtextextended(:key, 0)
