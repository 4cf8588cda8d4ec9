-- Key: identity. A text refused before keeps its entry; its reasons are those of the rules now.
MERGE INTO quarantine AS q
USING scratch.entries AS e
ON q.identity = e.identity
WHEN MATCHED THEN UPDATE SET
    reasons = e.reasons,
    first_source_line = CASE
        WHEN e.first_delivery_seq < q.first_delivery_seq THEN e.first_source_line
        ELSE q.first_source_line
    END,
    first_delivery_seq = LEAST(q.first_delivery_seq, e.first_delivery_seq),
    last_delivery_seq = GREATEST(q.last_delivery_seq, e.last_delivery_seq)
WHEN NOT MATCHED THEN INSERT (
    identity, source, visit_key, stamp, reasons, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost,
    last_updated, malformed, first_delivery_seq, first_source_line, last_delivery_seq, status
)
VALUES (
    e.identity, :source, e.visit_key, e.stamp, e.reasons, e.visit_id, e.patient_id, e.provider_id, e.diagnosis_code,
    e.visit_date, e.visit_cost, e.last_updated, e.malformed, e.first_delivery_seq, e.first_source_line,
    e.last_delivery_seq, 'open'
)
