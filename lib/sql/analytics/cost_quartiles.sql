-- Grain: one row. Each quartile is the least cost (cents) that at least that share of the visits with a cost do not exceed.
WITH
costs AS (
    SELECT
        visit_cost_cents AS cost_cents,
        COUNT(*) AS visits
    FROM fact_visits
    WHERE deleted_at IS NULL AND visit_cost_cents IS NOT NULL AND (:source IS NULL OR source = :source)
    GROUP BY visit_cost_cents
),
running AS (
    SELECT
        cost_cents,
        SUM(visits) OVER (ORDER BY cost_cents) AS visits_up_to,
        SUM(visits) OVER () AS visits
    FROM costs
)
SELECT
    COALESCE(MAX(visits), 0) AS visits_with_cost,
    MIN(CASE WHEN visits_up_to * 4 >= visits THEN cost_cents END) AS lower_quartile_cents,
    MIN(CASE WHEN visits_up_to * 2 >= visits THEN cost_cents END) AS median_cents,
    MIN(CASE WHEN visits_up_to * 4 >= visits * 3 THEN cost_cents END) AS upper_quartile_cents
FROM running
