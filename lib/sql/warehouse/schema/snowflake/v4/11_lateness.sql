-- Grain: one row per run and whole hour (rounded up) that versions which said something new lay behind the watermark when
-- they came; 0: at or after it. Of rows loaded, and of rows missed.
CREATE TABLE IF NOT EXISTS lateness (
    run_id VARCHAR NOT NULL,
    hours NUMBER(38, 0) NOT NULL,
    loaded NUMBER(38, 0) NOT NULL,
    missed NUMBER(38, 0) NOT NULL,
    PRIMARY KEY (run_id, hours)
)
