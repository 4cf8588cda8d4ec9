-- The one row, before any commit.
INSERT INTO warehouse (id, version) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM warehouse)
