-- Grain: one row per visit_id of the batch, with what loading it will do (inserted, updated, unchanged).
CREATE TABLE staged AS
SELECT
    o.visit_id,
    o.patient_id,
    o.provider_id,
    o.diagnosis_code,
    o.visit_date,
    o.visit_cost_cents,
    o.stamp,
    o.row_hash,
    o.delivery_seq,
    o.source_line,
    s.counted_seq,
    CASE
        WHEN c.visit_id IS NULL THEN 'inserted'
        WHEN s.settled_seq = c.delivery_seq AND s.settled_line = c.source_line AND s.settled_hash = c.row_hash$carried_same
            THEN 'unchanged'
        ELSE 'updated'
    END AS action$carried
FROM settled AS s
JOIN ordered AS o ON o.visit_id = s.visit_id AND o.place = s.shown_place
LEFT JOIN current_versions AS c ON c.visit_id = s.visit_id
