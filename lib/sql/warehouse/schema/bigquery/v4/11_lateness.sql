-- Grain: one row per run and whole hour (rounded up) that versions which said something new lay behind the watermark when
-- they came; 0: at or after it. Of rows loaded, and of rows missed.
CREATE TABLE IF NOT EXISTS lateness (
    run_id STRING NOT NULL,
    hours INT64 NOT NULL,
    loaded INT64 NOT NULL,
    missed INT64 NOT NULL
)
