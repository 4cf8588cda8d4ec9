-- The one row, before any commit.
INSERT INTO warehouse (id, version) VALUES (1, 0)
