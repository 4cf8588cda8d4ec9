-- Grain: one row per accepted version inside the window, with its row_hash.
CREATE VIEW versions AS
SELECT
    delivery_seq,
    source_line,
    is_context,
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    visit_cost_cents,
    stamp,
    $row_hash AS row_hash$carried
FROM judged
WHERE is_accepted AND is_inside
