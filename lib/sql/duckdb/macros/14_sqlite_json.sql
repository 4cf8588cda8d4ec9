-- JSON as SQLite writes it: a control character's digits in lower case. All else both write alike.
CREATE MACRO sqlite_json(json) AS
    CASE
        WHEN NOT contains(json, '\u00') THEN json
        ELSE array_to_string(list_transform(
            regexp_extract_all(json, '(?s)\\u[0-9A-F]{4}|\\.|[^\\]+'),
            lambda piece: CASE WHEN starts_with(piece, '\u') THEN lower(piece) ELSE piece END
        ), '')
    END
