-- How often a text was refused, and where.
CREATE INDEX quarantine_rows_by_identity ON quarantine_rows (identity)
