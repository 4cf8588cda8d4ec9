-- Grain: one row per staged visit, as it was written: key, day, stamp, and what loading it will do.
SELECT
    visit_id,
    visit_date,
    visit_cost,
    utc_clock(last_updated) AS stamp,
    action,
    is_written,
    coalesce(latest_seq, delivery_seq) AS latest_seq
FROM staged_visits
