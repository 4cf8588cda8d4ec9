-- Grain: one row per wanted visit that the table holds. Of the whole table only the ids are read; the rest where they are found.
WITH places AS MATERIALIZED (
    SELECT rowid AS place
    FROM fact_visits
    WHERE source = ? AND visit_id IN (SELECT visit_id FROM wanted)
)
SELECT
    f.visit_id,
    strftime(f.last_updated, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp,
    f.delivery_seq,
    f.source_line,
    f.row_hash,
    CAST(f.visit_date AS VARCHAR) AS visit_date,
    f.deleted_seq$carried
FROM fact_visits AS f
WHERE f.rowid IN (SELECT place FROM places)
