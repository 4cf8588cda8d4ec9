-- Grain: one row per whole hour that versions of the batch lay behind the watermark.
SELECT
    hours,
    loaded,
    missed
FROM read_parquet($lateness)
