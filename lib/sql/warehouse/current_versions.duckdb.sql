-- Grain: one row per wanted visit that the table holds.
SELECT
    f.visit_id,
    strftime(f.last_updated, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp,
    f.delivery_seq,
    f.source_line,
    f.row_hash,
    CAST(f.visit_date AS VARCHAR) AS visit_date,
    f.deleted_seq$carried
FROM fact_visits AS f
WHERE f.source = ? AND f.visit_id IN (SELECT visit_id FROM wanted)
