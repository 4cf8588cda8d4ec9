-- Key: identity. A text refused before keeps its entry; its reasons are those of the rules now.
INSERT INTO quarantine (
    identity, source, visit_key, stamp, reasons, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost,
    last_updated, malformed, status
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
    'open'
FROM scratch.rejected
WHERE true
ON CONFLICT (identity) DO UPDATE SET reasons = excluded.reasons
