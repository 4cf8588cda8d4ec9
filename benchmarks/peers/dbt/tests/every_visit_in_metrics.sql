-- Fails when the days' counts do not add up to the visits.
SELECT
    facts.visits,
    days.visits
FROM (SELECT count(*) AS visits FROM {{ ref('fact_visits') }}) AS facts,
    (SELECT coalesce(sum(visit_count), 0) AS visits FROM {{ ref('daily_visit_metrics') }}) AS days
WHERE facts.visits <> days.visits
