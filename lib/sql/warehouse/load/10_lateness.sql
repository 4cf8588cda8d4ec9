-- Grain: one row per whole hour that new versions of this run lay behind the watermark.
INSERT INTO lateness (run_id, hours, loaded, missed)
SELECT
    :run_id,
    hours,
    loaded,
    missed
FROM scratch.lateness
