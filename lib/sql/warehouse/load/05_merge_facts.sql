-- Key: (source, visit_id). Staging settled which version stands; the merge writes those that change the table.
INSERT INTO fact_visits (
    source, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents, last_updated, row_hash,
    delivery_seq, source_line$carried
)
SELECT
    :source,
    s.visit_id,
    s.patient_id,
    s.provider_id,
    s.diagnosis_code,
    s.visit_date,
    s.visit_cost_cents,
    s.last_updated,
    s.row_hash,
    s.delivery_seq,
    s.source_line$staged_carried
FROM scratch.staged AS s
WHERE :refresh OR s.is_written
ON CONFLICT (source, visit_id) DO UPDATE SET
    patient_id = excluded.patient_id,
    provider_id = excluded.provider_id,
    diagnosis_code = excluded.diagnosis_code,
    visit_date = excluded.visit_date,
    visit_cost_cents = excluded.visit_cost_cents,
    last_updated = excluded.last_updated,
    row_hash = excluded.row_hash,
    delivery_seq = excluded.delivery_seq,
    source_line = excluded.source_line$carried_updates
