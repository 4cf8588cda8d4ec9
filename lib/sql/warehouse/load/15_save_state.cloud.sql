-- Key: source. The watermark moves only here, with the data. The table `warehouse` has exactly one row.
MERGE INTO state AS s
USING warehouse AS w
ON s.source = :source
WHEN MATCHED THEN UPDATE SET
    watermark_last_updated = :watermark,
    last_staging_row_count = :staged,
    last_as_of = :as_of,
    last_run_id = :run_id
WHEN NOT MATCHED THEN INSERT (source, watermark_last_updated, last_staging_row_count, last_as_of, last_run_id)
VALUES (:source, :watermark, :staged, :as_of, :run_id)
