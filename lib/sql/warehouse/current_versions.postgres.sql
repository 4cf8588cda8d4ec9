-- Grain: one row per wanted visit that the table holds.
SELECT
    f.visit_id,
    to_char(f.last_updated AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') AS stamp,
    f.delivery_seq,
    f.source_line,
    f.row_hash,
    to_char(f.visit_date, 'YYYY-MM-DD') AS visit_date,
    f.deleted_seq$carried
FROM fact_visits AS f
WHERE f.source = ? AND f.visit_id IN (SELECT visit_id FROM temp.wanted)
