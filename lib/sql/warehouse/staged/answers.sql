-- Grain: at most two rows per visit that a refused row names; see staging/answers.
SELECT
    visit_id,
    strftime(stamp, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp,
    delivery_seq,
    source_line
FROM read_parquet($answers)
