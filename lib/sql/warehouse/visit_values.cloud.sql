-- Grain: one row per column of a visit (kind), value in it and source: the visits that have it, deleted ones apart.
SELECT
    CASE
        WHEN grouping(diagnosis_code) = 0 THEN 'diagnosis_code'
        WHEN grouping(provider_id) = 0 THEN 'provider_id'
        ELSE 'visit_cost_cents'
    END AS kind,
    coalesce(diagnosis_code, provider_id, visit_cost_cents) AS value,
    source,
    count(*) AS visits
FROM (
    SELECT
        source,
        coalesce(diagnosis_code, '') AS diagnosis_code,
        coalesce(provider_id, '') AS provider_id,
        coalesce(CAST(visit_cost_cents AS STRING), '') AS visit_cost_cents
    FROM $facts AS facts
    WHERE deleted_at IS NULL
) AS standing
GROUP BY GROUPING SETS ((source, diagnosis_code), (source, provider_id), (source, visit_cost_cents))
