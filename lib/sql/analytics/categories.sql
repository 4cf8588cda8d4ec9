-- Grain: one row per category of :kind among the :top most frequent, one row (folded = 1) for all others together.
-- Key: folded, category. Visits without the value are the category null.
WITH
counted AS (
    SELECT
        NULLIF(value, '') AS category,
        SUM(visits) AS visits
    FROM visit_value_counts
    WHERE kind = :kind AND (:source IS NULL OR source = :source)
    GROUP BY value
),
placed AS (
    SELECT
        category,
        visits,
        ROW_NUMBER() OVER (ORDER BY visits DESC, category NULLS FIRST) > :top AS folded
    FROM counted
)
SELECT
    folded,
    CASE WHEN folded THEN NULL ELSE category END AS category,
    COUNT(*) AS categories,
    SUM(visits) AS visits
FROM placed
GROUP BY 1, 2
