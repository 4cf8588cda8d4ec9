-- Grain: one row per visit that is newly deleted, or back (null).
SELECT
    visit_id,
    deleted_seq,
    stamp_text(deleted_at) AS deleted_at
FROM read_parquet($deletions)
