-- Key: identity. A text refused before keeps its entry; its reasons are those of the rules now.
INSERT INTO quarantine (
    identity, source, visit_key, stamp, reasons, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost,
    last_updated, malformed, first_delivery_seq, first_source_line, last_delivery_seq, status
)
SELECT
    identity,
    :source,
    visit_key,
    stamp,
    reasons,
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    visit_cost,
    last_updated,
    malformed,
    delivery_seq,
    source_line,
    delivery_seq,
    'open'
FROM scratch.rejected
WHERE true
ORDER BY delivery_seq, source_line
ON CONFLICT (identity) DO UPDATE SET
    reasons = excluded.reasons,
    first_source_line = iif(
        excluded.first_delivery_seq < first_delivery_seq, excluded.first_source_line, first_source_line
    ),
    first_delivery_seq = min(first_delivery_seq, excluded.first_delivery_seq),
    last_delivery_seq = max(last_delivery_seq, excluded.last_delivery_seq)
