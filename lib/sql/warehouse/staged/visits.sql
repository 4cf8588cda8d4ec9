-- Grain: one row per staged visit that the load reads; costs in cents.
SELECT
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    CAST(visit_cost * 100 AS BIGINT) AS visit_cost_cents,
    last_updated,
    row_hash,
    delivery_seq,
    source_line,
    action,
    is_written$carried
FROM read_parquet($visits)
WHERE $read
