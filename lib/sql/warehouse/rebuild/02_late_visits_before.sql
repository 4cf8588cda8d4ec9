-- They did not count late visits either.
UPDATE main.metric_changes
SET visits_late = 0
WHERE run_id IN (SELECT run_id FROM kept.runs WHERE rules IS NULL)
