-- Grain: one row: the days on which daily_visit_metrics is not the GROUP BY of fact_visits, in either direction.
WITH
expected AS (
    SELECT
        visit_date,
        COUNT(*) AS visit_count,
        COUNT(DISTINCT source || CHAR(31) || patient_id) AS patient_count,
        SUM(COALESCE(visit_cost_cents, 0)) AS total_visit_cost_cents,
        SUM(visit_cost_cents) / COUNT(visit_cost_cents)
        + (SUM(visit_cost_cents) % COUNT(visit_cost_cents) * 2 >= COUNT(visit_cost_cents)) AS avg_visit_cost_cents,
        SUM(visit_cost_cents IS NULL) AS missing_cost_count
    FROM fact_visits
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
),
differing AS (
    SELECT * FROM (SELECT * FROM expected EXCEPT SELECT * FROM published)
    UNION ALL
    SELECT * FROM (SELECT * FROM published EXCEPT SELECT * FROM expected)
)
SELECT COUNT(DISTINCT visit_date) AS days
FROM differing
