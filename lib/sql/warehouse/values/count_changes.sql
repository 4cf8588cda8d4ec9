-- Grain: one row per value whose count the block changed: what was stored of it, and the difference, add up to its count now.
CREATE TEMP TABLE count_changes AS
WITH changes AS (
    SELECT
        kind,
        value,
        source,
        sum(visits) AS visits
    FROM (
        SELECT * FROM ($counted) AS counted
        UNION ALL
        SELECT kind, value, source, -visits FROM temp.counts_before
    ) AS every
    GROUP BY kind, value, source
    HAVING sum(visits) <> 0
)
SELECT
    c.kind,
    c.value,
    c.source,
    c.visits + coalesce(k.visits, 0) AS visits
FROM changes AS c
LEFT JOIN visit_value_counts AS k ON k.kind = c.kind AND k.value = c.value AND k.source = c.source
