-- Grain: one row per staged visit, in SQLite's types: cents, day text, stamp text.
SELECT
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    strftime(visit_date, '%Y-%m-%d') AS visit_date,
    CAST(visit_cost * 100 AS BIGINT) AS visit_cost_cents,
    strftime(last_updated AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f+00:00') AS last_updated,
    row_hash,
    delivery_seq,
    source_line,
    action,
    CAST(is_written AS INTEGER) AS is_written,
    strftime(latest_stamp AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f+00:00') AS latest_stamp,
    latest_seq,
    latest_line,
    last_seq,
    last_line$carried
FROM read_parquet($visits)
