-- Grain: one row per visit of the batch that the table holds: its current version there, as the table's answer has it.
SELECT
    visit_id,
    CAST(stamp AS TIMESTAMP) AS stamp,
    delivery_seq,
    source_line,
    row_hash,
    CAST(visit_date AS DATE) AS visit_date,
    deleted_seq$carried
FROM answered
