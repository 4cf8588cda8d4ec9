-- Grain: one row per day of the facts that a source will have when the staged visits are all of them, with what their hashes
-- add up to, in lanes. A deleted visit is a fact of its day and counts under none.
WITH facts AS (
    SELECT
        v.*,
        d.deleted_at,
        d.deleted_seq
    FROM read_parquet($visits) AS v
    LEFT JOIN read_parquet($deletions) AS d USING (visit_id)
    WHERE $written
),
hashed AS (
    SELECT
        visit_date,
        patient_id,
        deleted_seq IS NULL AS stands,
        last_updated < $watermark AS is_late,
        CAST(visit_cost * 100 AS BIGINT) AS cents,
        sha256($row_text) AS hash
    FROM facts
)
SELECT
    strftime(visit_date, '%Y-%m-%d') AS visit_date,
    count(*) AS facts,
    count(*) FILTER (WHERE stands) AS visits,
    count(*) FILTER (WHERE stands AND is_late) AS late,
    count(DISTINCT CASE WHEN stands THEN patient_id END) AS patients,
    count(cents) FILTER (WHERE stands) AS with_cost,
    CAST(coalesce(sum(cents) FILTER (WHERE stands), 0) AS BIGINT) AS cents,
    $lanes
FROM hashed
GROUP BY visit_date
ORDER BY visit_date
