-- Grain: one row per rebuilt day that has visits now, deleted ones apart. Average over visits with a cost, to cents, half away from zero.
INSERT INTO daily_visit_metrics (
    visit_date, visit_count, patient_count, total_visit_cost_cents, avg_visit_cost_cents, missing_cost_count
)
SELECT
    visit_date,
    count(*),
    count(DISTINCT (source, patient_id)),
    coalesce(sum(visit_cost_cents), 0),
    (2 * sum(visit_cost_cents) + count(visit_cost_cents)) // (2 * count(visit_cost_cents)),
    count(*) - count(visit_cost_cents)
FROM fact_visits
WHERE deleted_at IS NULL AND (:refresh OR visit_date IN (SELECT visit_date FROM temp.touched_days))
GROUP BY visit_date
