-- A cell as a value: spaces and tabs trimmed, blank is null. Nothing else is touched. A cell of visible characters has none.
CREATE OR REPLACE TEMPORARY FUNCTION clean(cell STRING, is_visible BOOLEAN) RETURNS STRING
RETURN nullif(CASE WHEN is_visible THEN cell ELSE trim(BOTH ' \t' FROM cell) END, '')
