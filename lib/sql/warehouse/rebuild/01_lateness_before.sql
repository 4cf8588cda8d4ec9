-- Runs from before lateness was kept, which are those without rules, have none.
DELETE FROM main.lateness WHERE run_id IN (SELECT run_id FROM kept.runs WHERE rules IS NULL)
