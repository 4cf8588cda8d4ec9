-- Grain: one row per day that loses, gains or keeps a changed visit, with what happens to its visits.
CREATE TEMP TABLE touched_days AS
SELECT
    visit_date,
    count(*) FILTER (WHERE inserted) AS visits_inserted,
    count(*) FILTER (WHERE late) AS visits_late,
    count(*) FILTER (WHERE corrected) AS visits_corrected,
    count(*) FILTER (WHERE moved_in) AS visits_moved_in,
    count(*) FILTER (WHERE moved_out) AS visits_moved_out,
    count(*) FILTER (WHERE removed) AS visits_removed,
    count(*) FILTER (WHERE deleted) AS visits_deleted,
    count(*) FILTER (WHERE restored) AS visits_restored
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
