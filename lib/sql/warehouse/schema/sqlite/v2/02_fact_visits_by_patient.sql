-- Analysts follow a patient within a source.
CREATE INDEX fact_visits_by_patient ON fact_visits (patient_id, source)
