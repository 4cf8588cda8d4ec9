-- Grain: one row per staged visit, read where it lies; costs in cents. Instants are UTC timestamps by their number: a cast would ask
-- the calendar for the zone's offset.
SELECT
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    CAST(visit_cost * 100 AS BIGINT) AS visit_cost_cents,
    make_timestamp(epoch_us(last_updated)) AS last_updated,
    row_hash,
    delivery_seq,
    source_line,
    action,
    is_written,
    make_timestamp(epoch_us(coalesce(latest_stamp, last_updated))) AS latest_stamp,
    coalesce(latest_seq, delivery_seq) AS latest_seq,
    coalesce(latest_line, source_line) AS latest_line,
    coalesce(last_seq, delivery_seq) AS last_seq,
    coalesce(last_line, source_line) AS last_line$carried
FROM read_parquet($visits)
