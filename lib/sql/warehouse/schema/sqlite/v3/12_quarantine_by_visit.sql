-- A loaded version looks for the refusals it closes.
CREATE INDEX quarantine_by_visit ON quarantine (source, visit_key)
