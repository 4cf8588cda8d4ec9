-- A text as SQLite's json_array writes it: quotes, backslashes and control characters escaped, nothing else.
CREATE MACRO json_text(value) AS
    CASE
        WHEN NOT regexp_matches(value, '[\x00-\x1f"\\]') THEN '"' || value || '"'
        ELSE '"' || array_to_string(list_transform(
            regexp_extract_all(value, '(?s).'),
            lambda c: CASE
                WHEN c = '"' OR c = '\' THEN '\' || c
                WHEN c = chr(8) THEN '\b'
                WHEN c = chr(9) THEN '\t'
                WHEN c = chr(10) THEN '\n'
                WHEN c = chr(12) THEN '\f'
                WHEN c = chr(13) THEN '\r'
                WHEN unicode(c) < 32 THEN '\u00' || lpad(format('{:x}', unicode(c)), 2, '0')
                ELSE c
            END
        ), '') || '"'
    END
