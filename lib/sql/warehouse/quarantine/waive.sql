-- Key: identity. An entry that an accepted version answered stays superseded.
UPDATE quarantine
SET
    status = 'waived',
    waived_by = :waived_by,
    waived_at = :waived_at,
    waived_why = :waived_why,
    waived_until = :waived_until
WHERE identity = :identity AND status IN ('open', 'waived')
