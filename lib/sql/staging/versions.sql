-- Grain: one row per accepted version inside the window.
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
    stamp$carried
FROM judged
WHERE is_accepted AND is_inside
