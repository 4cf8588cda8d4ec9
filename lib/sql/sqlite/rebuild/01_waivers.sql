-- A waiver is a person's, not a delivery's: such an entry is held to be what it would be without one.
UPDATE kept.quarantine AS k
SET
    status = r.status,
    superseded_by_seq = r.superseded_by_seq,
    superseded_by_line = r.superseded_by_line,
    superseded_in_run = r.superseded_in_run
FROM main.quarantine AS r
WHERE r.identity = k.identity AND k.waived_at IS NOT NULL
