-- Grain: one row more per rebuilt day on which other sources have visits.
INSERT INTO temp.days (visit_date, visits, patients, with_cost, cents)
SELECT
    visit_date,
    count(*),
    count(DISTINCT source || char(31) || patient_id),
    count(visit_cost_cents),
    coalesce(sum(visit_cost_cents), 0)
FROM fact_visits
WHERE source <> :source AND deleted_at IS NULL
    AND (:refresh OR visit_date IN (SELECT visit_date FROM temp.touched_days))
GROUP BY visit_date
