-- Grain: one row per contended visit_id of the batch, with what loading it will do to the visit's values (inserted, updated,
-- unchanged). An unchanged visit is written too when its lineage moved: changed and changed back within the batch.
-- `latest`: the batch's greatest version, `last`: the one delivered last; they close quarantine entries.
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
    s.latest_stamp,
    s.latest_seq,
    s.latest_line,
    s.last_seq,
    s.last_line,
    s.is_same_stamp,
    CASE
        WHEN c.visit_id IS NULL THEN 'inserted'
        WHEN s.is_held OR (o.row_hash = c.row_hash$carried_same) THEN 'unchanged'
        ELSE 'updated'
    END AS action,
    action <> 'unchanged'
    OR (s.settled_seq, s.settled_line) <> (c.delivery_seq, c.source_line) AS is_written$carried
FROM settled AS s
JOIN ordered AS o ON o.visit_id = s.visit_id AND o.place = s.shown_place
LEFT JOIN current_versions AS c ON c.visit_id = s.visit_id
