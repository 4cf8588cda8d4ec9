-- Grain: one row per visit that the table holds and an incremental batch may change, as it stands before it, with its place.
CREATE TEMP TABLE standing AS
SELECT
    rowid AS place,
    *
FROM fact_visits
WHERE source = :source AND visit_id IN (SELECT visit_id FROM temp.touched_visits)
