-- A full refresh empties the source's facts before it refills them.
DELETE FROM fact_visits WHERE :refresh AND source = :source
