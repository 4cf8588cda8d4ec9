-- Grain: one row per refused text: its first place in the batch, its reasons and place where it came last.
SELECT
    identity,
    first(visit_key ORDER BY delivery_seq, source_line) AS visit_key,
    stamp_text(first(stamp ORDER BY delivery_seq, source_line)) AS stamp,
    array_to_string(last(reasons ORDER BY delivery_seq, source_line), ' ') AS reasons,
    first(visit_id ORDER BY delivery_seq, source_line) AS visit_id,
    first(patient_id ORDER BY delivery_seq, source_line) AS patient_id,
    first(provider_id ORDER BY delivery_seq, source_line) AS provider_id,
    first(diagnosis_code ORDER BY delivery_seq, source_line) AS diagnosis_code,
    first(visit_date ORDER BY delivery_seq, source_line) AS visit_date,
    first(visit_cost ORDER BY delivery_seq, source_line) AS visit_cost,
    first(last_updated ORDER BY delivery_seq, source_line) AS last_updated,
    first(malformed ORDER BY delivery_seq, source_line) AS malformed,
    min(delivery_seq) AS first_delivery_seq,
    first(source_line ORDER BY delivery_seq, source_line) AS first_source_line,
    max(delivery_seq) AS last_delivery_seq
FROM read_parquet($rejected)
GROUP BY identity
