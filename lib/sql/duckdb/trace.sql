-- Grain: one row per delivered version of one visit, accepted or refused, in the order of delivery.
SELECT
    delivery_seq,
    source_line,
    reasons,
    stamp_text(stamp) AS last_updated,
    CASE WHEN is_accepted THEN $row_hash END AS row_hash
FROM judged
WHERE visit_id = $$visit_id
ORDER BY delivery_seq, source_line
