-- Grain: one row per day that loses, gains or keeps a changed visit, with what happens to its visits.
CREATE TEMP TABLE touched_days AS
SELECT
    visit_date,
    sum(visits * CAST(inserted AS BIGINT)) AS visits_inserted,
    sum(visits * CAST(late AS BIGINT)) AS visits_late,
    sum(visits * CAST(corrected AS BIGINT)) AS visits_corrected,
    sum(visits * CAST(moved_in AS BIGINT)) AS visits_moved_in,
    sum(visits * CAST(moved_out AS BIGINT)) AS visits_moved_out,
    sum(visits * CAST(removed AS BIGINT)) AS visits_removed,
    sum(visits * CAST(deleted AS BIGINT)) AS visits_deleted,
    sum(visits * CAST(restored AS BIGINT)) AS visits_restored
FROM (
    SELECT
        visits,
        day_after AS visit_date,
        is_new AS inserted,
        is_late AS late,
        day_before IS NOT DISTINCT FROM day_after AS corrected,
        day_before IS NOT NULL AND day_before <> day_after AS moved_in,
        0 AS moved_out,
        0 AS removed,
        0 AS deleted,
        NOT is_new AND day_before IS NULL AS restored
    FROM temp.visit_changes
    WHERE day_after IS NOT NULL AND (is_changed OR day_before IS DISTINCT FROM day_after)
    UNION ALL
    SELECT
        visits,
        day_before AS visit_date,
        0 AS inserted,
        0 AS late,
        0 AS corrected,
        0 AS moved_in,
        day_after IS NOT NULL AS moved_out,
        is_removed AS removed,
        day_after IS NULL AND NOT is_removed AS deleted,
        0 AS restored
    FROM temp.visit_changes
    WHERE day_before IS NOT NULL AND day_before IS DISTINCT FROM day_after
)
GROUP BY visit_date
