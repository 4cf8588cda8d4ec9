-- SHA-256 of the settings under which the run staged its batch.
ALTER TABLE runs ADD COLUMN rules TEXT
