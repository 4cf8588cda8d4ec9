-- The new table takes the name.
ALTER TABLE quarantine_with_waivers RENAME TO quarantine
