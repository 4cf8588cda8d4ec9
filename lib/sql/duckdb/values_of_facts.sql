-- Grain: one row per visit of the facts that a source will have when the staged visits are all of them: what is counted by value.
SELECT
    $source AS source,
    v.diagnosis_code,
    v.provider_id,
    CAST(v.visit_cost * 100 AS BIGINT) AS visit_cost_cents,
    d.deleted_at
FROM read_parquet($visits) AS v
LEFT JOIN read_parquet($deletions) AS d USING (visit_id)
WHERE $written
