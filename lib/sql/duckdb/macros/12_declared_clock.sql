-- A text in a declared format as a timestamp; null when it is not whole in that format or not real (no year is 0000).
CREATE MACRO declared_clock(value, pattern, format) AS
    CASE
        WHEN regexp_full_match(value, pattern) AND year(try_strptime(value, format)) > 0
            THEN TRY_CAST(try_strptime(value, format) AS TIMESTAMP)
    END
