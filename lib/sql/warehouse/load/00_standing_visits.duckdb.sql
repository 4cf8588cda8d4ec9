-- Grain: one row per visit that the table holds and an incremental batch may change, as it stands before it, with its place.
-- Of the whole table only the ids are read; the rest where they are found.
CREATE TEMP TABLE standing AS
WITH places AS MATERIALIZED (
    SELECT rowid AS place
    FROM fact_visits
    WHERE source = :source AND visit_id IN (SELECT visit_id FROM temp.touched_visits)
)
SELECT
    rowid AS place,
    *
FROM fact_visits
WHERE rowid IN (SELECT place FROM places)
