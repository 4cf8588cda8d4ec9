-- Visits that a full delivery no longer holds, and those that came back; on a visit that was just written too.
UPDATE fact_visits
SET
    deleted_at = d.deleted_at,
    deleted_seq = d.deleted_seq
FROM scratch.deletions AS d
WHERE fact_visits.source = :source AND fact_visits.visit_id = d.visit_id AND fact_visits.visit_date :days
