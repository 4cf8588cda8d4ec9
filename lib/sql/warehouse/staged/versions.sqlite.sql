-- Grain: one row per staged visit of which a text was refused, now or before: the versions that may close its entries.
SELECT
    visit_id,
    strftime(latest_stamp AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f+00:00') AS latest_stamp,
    latest_seq,
    latest_line,
    last_seq,
    last_line
FROM read_parquet($visits)
WHERE visit_id IN (SELECT visit_key FROM refused UNION ALL SELECT visit_key FROM read_parquet($rejected))
