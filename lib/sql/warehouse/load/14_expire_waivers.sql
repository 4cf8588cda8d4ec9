-- Key: identity. A waiver that ended before the run's day (UTC) counts no more: its entry is open again.
UPDATE quarantine
SET status = 'open'
WHERE source = :source AND status = 'waived' AND waived_until < substr(:as_of, 1, 10)
