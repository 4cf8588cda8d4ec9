-- Grain: one row per staged visit that the load reads, in SQLite's types: cents, day text, stamp text.
SELECT
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    strftime(visit_date, '%Y-%m-%d') AS visit_date,
    CAST(visit_cost * 100 AS BIGINT) AS visit_cost_cents,
    stamp_text(utc_clock(last_updated)) AS last_updated,
    row_hash,
    delivery_seq,
    source_line,
    action,
    CAST(is_written AS INTEGER) AS is_written$carried
FROM read_parquet($visits)
WHERE $read
