-- Grain: one row per source: its facts, and those of them that are not deleted, as the loads counted what they wrote.
SELECT
    source,
    SUM(facts) AS facts,
    SUM(standing) AS standing
FROM (
    SELECT
        SUBSTR(key, 1, LENGTH(key) - 11) AS source,
        row_count AS facts,
        0 AS standing
    FROM content_hashes
    WHERE part = 'fact_visits'
    UNION ALL
    SELECT
        source,
        0 AS facts,
        visits AS standing
    FROM visit_value_counts
    WHERE kind = 'diagnosis_code'
) AS each_part
GROUP BY source
