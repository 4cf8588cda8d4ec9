-- Grain: one row per run and whole hour (rounded up) that versions which said something new lay behind the watermark when
-- they came; 0: at or after it. Of rows loaded, and of rows missed.
CREATE TABLE lateness (
    run_id TEXT COLLATE "C" NOT NULL,
    hours BIGINT NOT NULL CHECK (hours >= 0),
    loaded BIGINT NOT NULL,
    missed BIGINT NOT NULL,
    PRIMARY KEY (run_id, hours)
)
