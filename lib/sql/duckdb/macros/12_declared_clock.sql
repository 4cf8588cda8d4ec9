-- A text in a declared format as a timestamp; null when it is not whole in that format or not real.
CREATE MACRO declared_clock(value, pattern, format) AS
    CASE WHEN regexp_full_match(value, pattern) THEN TRY_CAST(try_strptime(value, format) AS TIMESTAMP) END
