-- Grain: one row per quarantine entry of :source, in the order of first places. Its status is that of the day :today (UTC): a
-- waiver counts up to and with its last day. `occurrences` are the refused rows that had the text.
SELECT
    q.identity,
    q.first_delivery_seq,
    q.first_source_line,
    q.reasons,
    CASE WHEN q.status = 'waived' AND q.waived_until < :today THEN 'open' ELSE q.status END AS status,
    q.last_delivery_seq,
    (SELECT count(*) FROM quarantine_rows AS r WHERE r.identity = q.identity) AS occurrences,
    q.superseded_by_seq,
    q.superseded_by_line,
    q.waived_by,
    q.waived_why,
    q.waived_until,
    q.visit_id,
    q.patient_id,
    q.provider_id,
    q.diagnosis_code,
    q.visit_date,
    q.visit_cost,
    q.last_updated,
    q.malformed
FROM quarantine AS q
WHERE q.source = :source
    AND (:reason IS NULL OR ' ' || q.reasons || ' ' LIKE '% ' || :reason || ' %')
    AND (
        :delivery IS NULL
        OR q.identity = (
            SELECT p.identity
            FROM quarantine_rows AS p
            WHERE p.source = :source AND p.delivery_seq = :delivery AND p.source_line = :line
        )
    )
ORDER BY q.first_delivery_seq, q.first_source_line
