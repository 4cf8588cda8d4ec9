-- Grain: one row per day that loses, gains or keeps a changed visit, with what happens to its visits.
CREATE TEMP TABLE touched_days AS
SELECT
    visit_date,
    SUM(CASE WHEN inserted THEN 1 ELSE 0 END) AS visits_inserted,
    SUM(CASE WHEN late THEN 1 ELSE 0 END) AS visits_late,
    SUM(CASE WHEN corrected THEN 1 ELSE 0 END) AS visits_corrected,
    SUM(CASE WHEN moved_in THEN 1 ELSE 0 END) AS visits_moved_in,
    SUM(CASE WHEN moved_out THEN 1 ELSE 0 END) AS visits_moved_out,
    SUM(CASE WHEN removed THEN 1 ELSE 0 END) AS visits_removed,
    SUM(CASE WHEN deleted THEN 1 ELSE 0 END) AS visits_deleted,
    SUM(CASE WHEN restored THEN 1 ELSE 0 END) AS visits_restored
FROM (
    SELECT
        day_after AS visit_date,
        is_new AS inserted,
        is_late AS late,
        day_before IS NOT DISTINCT FROM day_after AS corrected,
        day_before IS NOT NULL AND day_before <> day_after AS moved_in,
        false AS moved_out,
        false AS removed,
        false AS deleted,
        NOT is_new AND day_before IS NULL AS restored
    FROM temp.visit_changes
    WHERE day_after IS NOT NULL AND (is_changed OR day_before IS DISTINCT FROM day_after)
    UNION ALL
    SELECT
        day_before AS visit_date,
        false AS inserted,
        false AS late,
        false AS corrected,
        false AS moved_in,
        day_after IS NOT NULL AS moved_out,
        is_removed AS removed,
        day_after IS NULL AND NOT is_removed AS deleted,
        false AS restored
    FROM temp.visit_changes
    WHERE day_before IS NOT NULL AND day_before IS DISTINCT FROM day_after
) AS changes
GROUP BY visit_date
