-- Grain: one row: how many visits of the table the last delivery of the batch, a full one, does not hold. Every id that was
-- read counts, of refused rows and of rows outside the window too. Null where an id could not be read: it may be any.
SELECT
    CASE
        WHEN count(*) FILTER (WHERE visit_id IS NULL OR has_reason(reasons, 'invalid_visit_id')) = 0
            THEN $visits_held - (
                SELECT count(*)
                FROM current_versions
                WHERE deleted_seq IS NULL AND visit_id IN (SELECT visit_id FROM judged WHERE delivery_seq = $delivery)
            )
    END AS absent_visits
FROM judged
WHERE delivery_seq = $delivery
