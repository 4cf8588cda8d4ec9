-- Grain: one row per wanted visit that the table holds.
SELECT
    f.visit_id,
    f.last_updated AS stamp,
    f.delivery_seq,
    f.source_line,
    f.row_hash,
    f.visit_date,
    f.deleted_seq$carried
FROM fact_visits AS f
WHERE f.source = ? AND f.visit_id IN (SELECT visit_id FROM temp.wanted)
