-- Visits that a full delivery no longer held.
ALTER TABLE metric_changes ADD COLUMN visits_deleted INTEGER NOT NULL DEFAULT 0
