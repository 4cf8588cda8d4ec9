-- Who waived, when and why comes from the journal of decisions.
UPDATE kept.quarantine
SET
    waived_by = NULL,
    waived_at = NULL,
    waived_why = NULL,
    waived_until = NULL
