-- An increment rebuilds the metrics of the days that it touches: it must not read the others.
CREATE INDEX facts_by_day ON fact_visits (visit_date)
