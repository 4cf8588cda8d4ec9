-- Grain: one row per week (its Monday). Costs are summed over the visits that have one.
SELECT
    DATE_TRUNC(visit_date, WEEK(MONDAY)) AS monday,
    sum(visit_count) AS visits,
    sum(visit_count - missing_cost_count) AS visits_with_cost,
    sum(total_visit_cost) AS cost
FROM daily_visit_metrics
GROUP BY monday
ORDER BY monday
