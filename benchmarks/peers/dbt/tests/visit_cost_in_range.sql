-- Fails on a cost that no visit can have.
SELECT visit_cost
FROM {{ ref('fact_visits') }}
WHERE visit_cost NOT BETWEEN 0 AND {{ var('max_visit_cost') }}
