-- Nor did they say under which rules they staged.
UPDATE main.runs
SET rules = NULL
WHERE run_id IN (SELECT run_id FROM kept.runs WHERE rules IS NULL)
