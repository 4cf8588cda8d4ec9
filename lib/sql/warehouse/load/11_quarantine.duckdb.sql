-- Key: identity. A text refused before keeps its entry; its reasons are those of the rules now.
MERGE INTO quarantine AS q
USING (
    SELECT
        identity,
        arg_min(visit_key, (delivery_seq, source_line)) AS visit_key,
        arg_min(stamp, (delivery_seq, source_line)) AS stamp,
        arg_max(reasons, (delivery_seq, source_line)) AS reasons,
        any_value(visit_id) AS visit_id,
        any_value(patient_id) AS patient_id,
        any_value(provider_id) AS provider_id,
        any_value(diagnosis_code) AS diagnosis_code,
        any_value(visit_date) AS visit_date,
        any_value(visit_cost) AS visit_cost,
        any_value(last_updated) AS last_updated,
        any_value(malformed) AS malformed,
        min(delivery_seq) AS first_delivery_seq,
        arg_min(source_line, (delivery_seq, source_line)) AS first_source_line,
        max(delivery_seq) AS last_delivery_seq
    FROM scratch.rejected
    GROUP BY identity
) AS r
ON q.identity = r.identity
WHEN MATCHED THEN UPDATE SET
    reasons = r.reasons,
    first_source_line = CASE
        WHEN r.first_delivery_seq < q.first_delivery_seq THEN r.first_source_line
        ELSE q.first_source_line
    END,
    first_delivery_seq = least(q.first_delivery_seq, r.first_delivery_seq),
    last_delivery_seq = greatest(q.last_delivery_seq, r.last_delivery_seq)
WHEN NOT MATCHED THEN INSERT (
    identity, source, visit_key, stamp, reasons, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost,
    last_updated, malformed, first_delivery_seq, first_source_line, last_delivery_seq, status
)
VALUES (
    r.identity, :source, r.visit_key, r.stamp, r.reasons, r.visit_id, r.patient_id, r.provider_id, r.diagnosis_code,
    r.visit_date, r.visit_cost, r.last_updated, r.malformed, r.first_delivery_seq, r.first_source_line,
    r.last_delivery_seq, 'open'
)
