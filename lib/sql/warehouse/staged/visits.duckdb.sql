-- Grain: one row per staged visit, read where it lies; costs in cents.
SELECT
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    CAST(visit_cost * 100 AS BIGINT) AS visit_cost_cents,
    last_updated AT TIME ZONE 'UTC' AS last_updated,
    row_hash,
    delivery_seq,
    source_line,
    action,
    is_written,
    strftime(latest_stamp AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f+00:00') AS latest_stamp,
    latest_seq,
    latest_line,
    last_seq,
    last_line$carried
FROM read_parquet($visits)
