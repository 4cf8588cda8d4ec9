-- Grain: one row per day of a source's first visits: all of them are new.
CREATE TEMP TABLE touched_days AS
SELECT
    visit_date,
    visits AS visits_inserted,
    late AS visits_late,
    0 AS visits_corrected,
    0 AS visits_moved_in,
    0 AS visits_moved_out,
    0 AS visits_removed,
    0 AS visits_deleted,
    0 AS visits_restored
FROM temp.days
