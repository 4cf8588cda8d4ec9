-- Grain: one row: how many rows say a cost that is not what their cents say.
SELECT
    (
        SELECT COUNT(*)
        FROM fact_visits
        WHERE COALESCE(visit_cost * 100, -1) <> COALESCE(visit_cost_cents, -1)
    )
    + (
        SELECT COUNT(*)
        FROM daily_visit_metrics
        WHERE COALESCE(total_visit_cost * 100, -1) <> total_visit_cost_cents
            OR COALESCE(avg_visit_cost * 100, -1) <> COALESCE(avg_visit_cost_cents, -1)
    )
