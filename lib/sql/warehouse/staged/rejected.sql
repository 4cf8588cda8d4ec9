-- Grain: one row per refused row, its texts as delivered.
SELECT
    identity,
    visit_key,
    strftime(stamp, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp,
    array_to_string(reasons, ' ') AS reasons,
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    visit_cost,
    last_updated,
    malformed,
    delivery_seq,
    source_line
FROM read_parquet($rejected)
