-- Grain: one row per day that was published once the tables had :version: what the last run that changed it left.
WITH changes AS (
    SELECT
        c.*,
        row_number() OVER (PARTITION BY c.visit_date ORDER BY r.version DESC) AS place
    FROM metric_changes AS c
    JOIN runs AS r USING (run_id)
    WHERE r.version <= :version
)
SELECT
    visit_date,
    visit_count_after AS visit_count,
    patient_count_after AS patient_count,
    total_visit_cost_cents_after AS total_visit_cost,
    avg_visit_cost_cents_after AS avg_visit_cost,
    missing_cost_count_after AS missing_cost_count
FROM changes
WHERE place = 1 AND visit_count_after IS NOT NULL
ORDER BY visit_date
