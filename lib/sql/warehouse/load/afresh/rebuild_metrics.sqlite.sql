-- Grain: one row per rebuilt day that has visits now, deleted ones apart: the source's as they were counted, those of other
-- sources from the facts. Average over visits with a cost, to cents, half away from zero.
INSERT INTO daily_visit_metrics (
    visit_date, visit_count, patient_count, total_visit_cost_cents, avg_visit_cost_cents, missing_cost_count
)
SELECT
    visit_date,
    sum(visits),
    sum(patients),
    sum(cents),
    (2 * sum(cents) + sum(with_cost)) / (2 * sum(with_cost)),
    sum(visits) - sum(with_cost)
FROM temp.days
GROUP BY visit_date
