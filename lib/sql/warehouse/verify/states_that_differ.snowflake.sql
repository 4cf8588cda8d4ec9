-- Grain: one row: how many sources' state is not what their newest run left; the tables' version counts as one more.
WITH newest AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY source ORDER BY version DESC) AS place
    FROM runs
),
said AS (
    SELECT
        source,
        watermark_after,
        CAST(GET_PATH(PARSE_JSON(counts), 'staged') AS NUMBER(38, 0)) AS staged,
        as_of,
        run_id
    FROM newest
    WHERE place = 1
),
kept AS (
    SELECT
        source,
        watermark_last_updated,
        last_staging_row_count,
        last_as_of,
        last_run_id
    FROM state
)
SELECT
    (
        SELECT count(DISTINCT source)
        FROM (
            SELECT * FROM (SELECT * FROM said EXCEPT SELECT * FROM kept) AS lost
            UNION ALL
            SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM said) AS more
        ) AS different
    )
    + (
        SELECT CASE count(*) WHEN 1 THEN 0 ELSE 1 END
        FROM warehouse
        WHERE version = (SELECT coalesce(max(version), 0) FROM runs)
    )
