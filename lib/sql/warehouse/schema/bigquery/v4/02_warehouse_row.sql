-- The one row, before any commit.
INSERT INTO warehouse (id, version) SELECT 1, 0 FROM (SELECT 1 AS one) AS one_row WHERE NOT EXISTS (SELECT 1 FROM warehouse)
