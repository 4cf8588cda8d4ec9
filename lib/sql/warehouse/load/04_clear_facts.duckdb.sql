-- A full refresh empties the source's facts before it refills them; an increment takes away the versions that it replaces: in a
-- table kept by columns, a row is written anew for less than each of its columns is changed.
DELETE FROM fact_visits
WHERE
    (:refresh AND source = :source)
    OR rowid IN (
        SELECT v.place
        FROM temp.standing AS v
        JOIN scratch.staged AS s ON s.visit_id = v.visit_id
        WHERE s.is_written
    )
