-- Key: (source, visit_id). Staging settled which version stands; the merge writes those that change the table. Only the days
-- that the batch may touch are read.
MERGE INTO fact_visits AS f
USING scratch.staged AS excluded
ON f.source = :source AND f.visit_id = excluded.visit_id AND f.visit_date :days
WHEN MATCHED AND (:refresh OR excluded.is_written) THEN UPDATE SET
    patient_id = excluded.patient_id,
    provider_id = excluded.provider_id,
    diagnosis_code = excluded.diagnosis_code,
    visit_date = excluded.visit_date,
    visit_cost_cents = excluded.visit_cost_cents,
    last_updated = excluded.last_updated,
    row_hash = excluded.row_hash,
    delivery_seq = excluded.delivery_seq,
    source_line = excluded.source_line,
    visit_cost = CAST(excluded.visit_cost_cents AS NUMERIC) / 100$carried_updates
WHEN NOT MATCHED AND (:refresh OR excluded.is_written) THEN INSERT (
    source, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents, last_updated, row_hash,
    delivery_seq, source_line, visit_cost$carried
)
VALUES (
    :source, excluded.visit_id, excluded.patient_id, excluded.provider_id, excluded.diagnosis_code, excluded.visit_date,
    excluded.visit_cost_cents, excluded.last_updated, excluded.row_hash, excluded.delivery_seq, excluded.source_line,
    CAST(excluded.visit_cost_cents AS NUMERIC) / 100$carried_given
)
