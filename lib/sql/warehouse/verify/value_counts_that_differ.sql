-- Grain: one row: how many values' counts are not those of the facts, in either direction.
WITH counted AS (
    $counted
),
kept AS (
    SELECT
        kind,
        value,
        source,
        visits
    FROM visit_value_counts
)
SELECT count(*)
FROM (
    SELECT kind, value, source FROM (SELECT * FROM counted EXCEPT SELECT * FROM kept) AS lost
    UNION
    SELECT kind, value, source FROM (SELECT * FROM kept EXCEPT SELECT * FROM counted) AS more
) AS different
