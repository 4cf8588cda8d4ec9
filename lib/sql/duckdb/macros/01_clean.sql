-- A cell as a value: spaces and tabs trimmed, blank is null. Nothing else is touched. A cell of visible characters has none.
CREATE MACRO clean(cell, is_visible) AS nullif(CASE WHEN is_visible THEN cell ELSE trim(cell, E' \t') END, '')
