-- Analysts and the metrics' rebuild read facts by day.
CREATE INDEX fact_visits_by_visit_date ON fact_visits (visit_date)
