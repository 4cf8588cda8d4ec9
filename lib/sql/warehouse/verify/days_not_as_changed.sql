-- Grain: one row: how many days' metrics are not what the last run that changed them says it left.
WITH last_changes AS (
    SELECT
        c.*,
        row_number() OVER (PARTITION BY c.visit_date ORDER BY r.version DESC) AS place
    FROM metric_changes AS c
    JOIN runs AS r USING (run_id)
),
said AS (
    SELECT
        visit_date,
        visit_count_after,
        patient_count_after,
        total_visit_cost_cents_after,
        avg_visit_cost_cents_after,
        missing_cost_count_after
    FROM last_changes
    WHERE place = 1 AND visit_count_after IS NOT NULL
),
published AS (
    SELECT
        visit_date,
        visit_count,
        patient_count,
        total_visit_cost_cents,
        avg_visit_cost_cents,
        missing_cost_count
    FROM daily_visit_metrics
)
SELECT count(DISTINCT visit_date)
FROM (
    SELECT * FROM (SELECT * FROM said EXCEPT SELECT * FROM published) AS lost
    UNION ALL
    SELECT * FROM (SELECT * FROM published EXCEPT SELECT * FROM said) AS more
) AS different
