-- Grain: one row: of the checked days, on how many the metrics are not the GROUP BY of the facts, in either direction.
WITH expected AS (
    SELECT
        visit_date,
        count(*) AS visit_count,
        count(DISTINCT (source, patient_id)) AS patient_count,
        coalesce(sum(visit_cost_cents), 0) AS total_visit_cost_cents,
        (2 * sum(visit_cost_cents) + count(visit_cost_cents)) // (2 * count(visit_cost_cents)) AS avg_visit_cost_cents,
        count(*) - count(visit_cost_cents) AS missing_cost_count
    FROM fact_visits
    WHERE deleted_at IS NULL AND $checked
    GROUP BY visit_date
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
    WHERE $checked
)
SELECT count(DISTINCT visit_date)
FROM (
    SELECT * FROM (SELECT * FROM expected EXCEPT SELECT * FROM published)
    UNION ALL
    SELECT * FROM (SELECT * FROM published EXCEPT SELECT * FROM expected)
)
