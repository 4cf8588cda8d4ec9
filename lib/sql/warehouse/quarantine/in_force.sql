-- Grain: one row: the entries of :source that a waiver covers on the day :today (UTC), and the first day that ends one.
SELECT
    count(*) AS entries,
    min(waived_until) AS next_until
FROM quarantine
WHERE source = :source AND status = 'waived' AND waived_until >= :today
