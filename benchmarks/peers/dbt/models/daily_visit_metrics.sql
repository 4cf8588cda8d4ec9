-- Grain: one row per visit_date. The average is over visits with a cost, to cents, half away from zero.
WITH days AS (
    SELECT
        visit_date,
        count(*) AS visit_count,
        count(DISTINCT patient_id) AS patient_count,
        coalesce(sum(visit_cost), 0) AS total_visit_cost,
        count(visit_cost) AS cost_count
    FROM {{ ref('fact_visits') }}
    GROUP BY visit_date
)

SELECT
    visit_date,
    visit_count,
    patient_count,
    CAST(total_visit_cost AS DECIMAL(18, 2)) AS total_visit_cost,
    CAST(
        CASE
            WHEN cost_count > 0 THEN ((200 * total_visit_cost)::HUGEINT + cost_count) // (2 * cost_count) / 100::DECIMAL(3, 0)
        END
        AS DECIMAL(18, 2)
    ) AS avg_visit_cost,
    visit_count - cost_count AS missing_cost_count
FROM days
