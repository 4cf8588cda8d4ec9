-- Grain: one row per staged visit of which a text was refused, now or before: the versions that may close its entries.
SELECT
    visit_id,
    stamp_text(utc_clock(coalesce(latest_stamp, last_updated))) AS latest_stamp,
    coalesce(latest_seq, delivery_seq) AS latest_seq,
    coalesce(latest_line, source_line) AS latest_line,
    coalesce(last_seq, delivery_seq) AS last_seq,
    coalesce(last_line, source_line) AS last_line
FROM read_parquet($visits)
WHERE visit_id IN (SELECT visit_key FROM refused UNION ALL SELECT visit_key FROM read_parquet($rejected))
