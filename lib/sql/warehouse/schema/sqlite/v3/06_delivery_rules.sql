-- SHA-256 of the settings under which a loaded delivery was staged: mapping, formats, rules, carried columns.
ALTER TABLE deliveries ADD COLUMN rules TEXT
