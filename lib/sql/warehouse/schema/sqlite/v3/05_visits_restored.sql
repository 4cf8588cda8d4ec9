-- Visits that came back after they were deleted.
ALTER TABLE metric_changes ADD COLUMN visits_restored INTEGER NOT NULL DEFAULT 0
