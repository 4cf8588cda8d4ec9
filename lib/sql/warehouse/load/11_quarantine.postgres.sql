-- Key: identity. A text refused before keeps its entry; its reasons are those of the rules now.
INSERT INTO quarantine AS q (
    identity, source, visit_key, stamp, reasons, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost,
    last_updated, malformed, first_delivery_seq, first_source_line, last_delivery_seq, status
)
SELECT
    f.identity,
    :source,
    f.visit_key,
    f.stamp,
    l.reasons,
    f.visit_id,
    f.patient_id,
    f.provider_id,
    f.diagnosis_code,
    f.visit_date,
    f.visit_cost,
    f.last_updated,
    f.malformed,
    f.delivery_seq,
    f.source_line,
    l.delivery_seq,
    'open'
FROM (SELECT DISTINCT ON (identity) * FROM scratch.rejected ORDER BY identity, delivery_seq, source_line) AS f
JOIN (
    SELECT DISTINCT ON (identity) identity, reasons, delivery_seq
    FROM scratch.rejected
    ORDER BY identity, delivery_seq DESC, source_line DESC
) AS l ON l.identity = f.identity
ON CONFLICT (identity) DO UPDATE SET
    reasons = excluded.reasons,
    first_source_line = CASE
        WHEN excluded.first_delivery_seq < q.first_delivery_seq THEN excluded.first_source_line
        ELSE q.first_source_line
    END,
    first_delivery_seq = least(q.first_delivery_seq, excluded.first_delivery_seq),
    last_delivery_seq = greatest(q.last_delivery_seq, excluded.last_delivery_seq)
