-- Grain: one row per contended visit_id among the batch's accepted versions inside the window. `settled` is the version that the
-- table holds afterwards: the first of the last run of equal versions, so that a repetition moves no lineage. `shown` is
-- the staged row: the settled version, or the batch's own greatest where the settled one is held already.
WITH places AS (
    SELECT
        visit_id,
        max(place) FILTER (WHERE is_change) AS settled_place,
        max(place) FILTER (WHERE NOT is_current AND NOT is_context) AS latest_place,
        max(place) FILTER (WHERE is_current) AS current_place,
        max(place_of(delivery_seq, source_line)) FILTER (WHERE NOT is_current) AS last_delivered
    FROM ordered
    GROUP BY visit_id
    HAVING count(*) FILTER (WHERE NOT is_current AND NOT is_context) > 0
)
SELECT
    p.visit_id,
    s.stamp AS settled_stamp,
    s.delivery_seq AS settled_seq,
    s.source_line AS settled_line,
    p.settled_place IS NOT DISTINCT FROM p.current_place AS is_held,
    s.is_same_stamp AS is_same_stamp,
    l.stamp AS latest_stamp,
    l.delivery_seq AS latest_seq,
    l.source_line AS latest_line,
    p.last_delivered.seq AS last_seq,
    p.last_delivered.line AS last_line,
    CASE WHEN p.settled_place IS NOT DISTINCT FROM p.current_place THEN p.latest_place ELSE p.settled_place END AS shown_place
FROM places AS p
JOIN ordered AS s ON s.visit_id = p.visit_id AND s.place = p.settled_place
JOIN ordered AS l ON l.visit_id = p.visit_id AND l.place = p.latest_place
