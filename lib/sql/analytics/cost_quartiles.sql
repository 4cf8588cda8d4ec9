-- Grain: one row. Each quartile is the least cost (cents) that at least that share of the visits with a cost do not exceed.
WITH
costs AS (
    SELECT
        CAST(value AS BIGINT) AS cost_cents,
        visits
    FROM visit_value_counts
    WHERE kind = 'visit_cost_cents' AND value <> '' AND (:source IS NULL OR source = :source)
),
running AS (
    SELECT
        cost_cents,
        SUM(visits) OVER (ORDER BY cost_cents ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS visits_up_to
    FROM costs
),
every_cost AS (
    SELECT SUM(visits) AS visits
    FROM costs
)
SELECT
    COALESCE(MAX(visits), 0) AS visits_with_cost,
    MIN(CASE WHEN visits_up_to * 4 >= visits THEN cost_cents END) AS lower_quartile_cents,
    MIN(CASE WHEN visits_up_to * 2 >= visits THEN cost_cents END) AS median_cents,
    MIN(CASE WHEN visits_up_to * 4 >= visits * 3 THEN cost_cents END) AS upper_quartile_cents
FROM running
CROSS JOIN every_cost
