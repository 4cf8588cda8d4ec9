-- Grain: one row per visit_id of the batch, in its order where the tables ask for it: the version that staging shows. A visit
-- with one contending version is inserted as it stands; its latest and its last version are itself, and left null. The hash is
-- made behind the sort, whose rows stay narrow.
SELECT
    $source AS source,
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    cost_of(visit_cost_cents) AS visit_cost,
    utc_instant(stamp) AS last_updated,
    $row_hash AS row_hash,
    delivery_seq,
    source_line,
    coalesce(action, 'inserted') AS action,
    coalesce(is_written, true) AS is_written,
    utc_instant(latest_stamp) AS latest_stamp,
    latest_seq,
    latest_line,
    last_seq,
    last_line$carried
FROM (
    SELECT
        v.*,
        c.action,
        c.is_written,
        c.latest_stamp,
        c.latest_seq,
        c.latest_line,
        c.last_seq,
        c.last_line
    FROM versions AS v
    LEFT JOIN staged_contended AS c ON c.visit_id = v.visit_id
    WHERE
        CASE
            WHEN c.visit_id IS NULL THEN NOT v.is_context
            ELSE v.delivery_seq = c.delivery_seq AND v.source_line = c.source_line
        END$ordered
)
