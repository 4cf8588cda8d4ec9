-- Grain: one row per rebuilt day that has visits now, deleted ones apart. Average over visits with a cost, to cents, half away from zero.
INSERT INTO daily_visit_metrics (
    visit_date, visit_count, patient_count, total_visit_cost_cents, total_visit_cost, avg_visit_cost_cents,
    avg_visit_cost, missing_cost_count
)
SELECT
    visit_date,
    visit_count,
    patient_count,
    cents,
    CAST(cents AS NUMERIC) / 100,
    average,
    CAST(average AS NUMERIC) / 100,
    missing_cost_count
FROM (
    SELECT
        visit_date,
        COUNT(*) AS visit_count,
        COUNT(DISTINCT source || CHR(31) || patient_id) AS patient_count,
        COALESCE(SUM(visit_cost_cents), 0) AS cents,
        CASE
            WHEN COUNT(visit_cost_cents) > 0
                THEN DIV((2 * SUM(visit_cost_cents) + COUNT(visit_cost_cents)), (2 * COUNT(visit_cost_cents)))
        END AS average,
        COUNT(*) - COUNT(visit_cost_cents) AS missing_cost_count
    FROM fact_visits
    WHERE deleted_at IS NULL
        AND (:refresh OR visit_date IN (SELECT visit_date FROM temp.touched_days))
        AND visit_date :days
    GROUP BY visit_date
) AS metrics
