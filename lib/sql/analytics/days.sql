-- Grain: one row per visit_date with a visit. Key: day. Costs are summed over the visits that have one, in cents.
SELECT
    visit_date AS day,
    COUNT(*) AS visits,
    COUNT(visit_cost_cents) AS visits_with_cost,
    COALESCE(SUM(visit_cost_cents), 0) AS cost_cents
FROM fact_visits
WHERE :source IS NULL OR source = :source
GROUP BY visit_date
ORDER BY visit_date
