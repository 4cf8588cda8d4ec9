-- Of the visits inserted, those older than the watermark when they came.
ALTER TABLE metric_changes ADD COLUMN visits_late INTEGER NOT NULL DEFAULT 0
