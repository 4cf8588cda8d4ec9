-- A waiver is a person's, not a delivery's: who waived, when and why comes from the journal of decisions, and without it
-- such an entry is open, or was superseded all the same.
UPDATE $database.quarantine
SET
    status = CASE status WHEN 'waived' THEN 'open' ELSE status END,
    waived_by = NULL,
    waived_at = NULL,
    waived_why = NULL,
    waived_until = NULL
