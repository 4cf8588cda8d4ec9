-- Grain: one row per visit that is newly deleted, or back (null).
SELECT
    visit_id,
    deleted_seq,
    strftime(deleted_at, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS deleted_at
FROM read_parquet($deletions)
