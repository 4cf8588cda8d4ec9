-- When a full delivery was found to hold the visit no longer: that delivery's clock. Null: the visit stands.
ALTER TABLE fact_visits ADD COLUMN deleted_at TEXT CHECK (length(deleted_at) = 32)
