-- Key: (source, visit_id). Staging settled which version stands; the merge writes those that change the table. What the batch
-- does not say of a visit stays: that it is deleted, and columns that are carried no more.
INSERT INTO fact_visits (
    source, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents, last_updated, row_hash,
    delivery_seq, source_line$carried$kept
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
    s.source_line$staged_carried$standing_kept
FROM scratch.staged AS s
LEFT JOIN temp.standing AS v ON v.visit_id = s.visit_id AND NOT :refresh
WHERE :refresh OR s.is_written
