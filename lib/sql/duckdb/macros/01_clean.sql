-- A cell as a value: spaces and tabs trimmed, blank or a configured marker is null. Nothing else is touched.
CREATE MACRO clean(cell, markers) AS
    CASE
        WHEN trim(cell, E' \t') = '' OR list_contains(markers, trim(cell, E' \t')) THEN NULL
        ELSE trim(cell, E' \t')
    END
