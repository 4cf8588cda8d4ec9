-- An ISO text's date and time of day as a timestamp without zone, cut (never rounded) to microseconds.
CREATE MACRO iso_clock(value, pattern) AS
    CASE
        WHEN NOT regexp_full_match(value, pattern) OR left(value, 4) = '0000' THEN NULL
        WHEN length(value) = 10 THEN TRY_CAST(TRY_CAST(value AS DATE) AS TIMESTAMP)
        ELSE TRY_CAST(
            left(value, 10) || ' ' || left(substr(value, 12, length(value) - 11 - length(iso_zone(value))), 15)
            || CASE WHEN length(value) - length(iso_zone(value)) = 16 THEN ':00' ELSE '' END
            AS TIMESTAMP
        )
    END
