-- Grain: one row per visit_date with a visit. Key: day. Costs are summed over the visits that have one, in cents.
-- All sources: as the metrics have it; one source: from its facts.
SELECT
    visit_date AS day,
    visit_count AS visits,
    visit_count - missing_cost_count AS visits_with_cost,
    total_visit_cost_cents AS cost_cents
FROM daily_visit_metrics
WHERE :source IS NULL
UNION ALL
SELECT
    visit_date AS day,
    COUNT(*) AS visits,
    COUNT(visit_cost_cents) AS visits_with_cost,
    COALESCE(SUM(visit_cost_cents), 0) AS cost_cents
FROM fact_visits
WHERE deleted_at IS NULL AND source = :source
GROUP BY visit_date
ORDER BY day
