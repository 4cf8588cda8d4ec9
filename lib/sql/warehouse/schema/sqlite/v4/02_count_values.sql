-- The facts of a warehouse from before are counted once.
INSERT INTO visit_value_counts (kind, value, source, visits)
SELECT
    'diagnosis_code' AS kind,
    coalesce(diagnosis_code, '') AS value,
    source,
    count(*) AS visits
FROM fact_visits
WHERE deleted_at IS NULL
GROUP BY coalesce(diagnosis_code, ''), source
UNION ALL
SELECT
    'provider_id' AS kind,
    coalesce(provider_id, '') AS value,
    source,
    count(*) AS visits
FROM fact_visits
WHERE deleted_at IS NULL
GROUP BY coalesce(provider_id, ''), source
UNION ALL
SELECT
    'visit_cost_cents' AS kind,
    coalesce(CAST(visit_cost_cents AS VARCHAR(20)), '') AS value,
    source,
    count(*) AS visits
FROM fact_visits
WHERE deleted_at IS NULL
GROUP BY visit_cost_cents, source
