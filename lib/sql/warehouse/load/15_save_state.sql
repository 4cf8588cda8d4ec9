-- Key: source. The watermark moves only here, with the data.
INSERT INTO state (source, watermark_last_updated, last_staging_row_count, last_as_of, last_run_id)
VALUES (:source, :watermark, :staged, :as_of, :run_id)
ON CONFLICT (source) DO UPDATE SET
    watermark_last_updated = excluded.watermark_last_updated,
    last_staging_row_count = excluded.last_staging_row_count,
    last_as_of = excluded.last_as_of,
    last_run_id = excluded.last_run_id
