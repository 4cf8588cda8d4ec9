-- Grain: one row per category of $column among the :top most frequent, one row (folded = 1) for all others together.
-- Key: folded, category. Visits without the value are the category null.
WITH
counted AS (
    SELECT
        $column AS category,
        COUNT(*) AS visits
    FROM fact_visits
    WHERE deleted_at IS NULL AND (:source IS NULL OR source = :source)
    GROUP BY $column
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
