-- Entries are counted by status, and the open ones' visits looked for, without reading what was refused.
CREATE INDEX quarantine_by_status ON quarantine (status, source, visit_key)
