-- A timestamp without zone, cut (never rounded) to microseconds, of an ISO text that ends with `zone`; null: it is none.
CREATE MACRO iso_clock(value, zone) AS
    CASE
        WHEN zone IS NULL OR left(value, 4) = '0000' THEN NULL
        WHEN length(value) = 10 THEN TRY_CAST(TRY_CAST(value AS DATE) AS TIMESTAMP)
        ELSE TRY_CAST(
            left(value, 10) || ' ' || left(substr(value, 12, length(value) - 11 - length(zone)), 15)
            || CASE WHEN length(value) - length(zone) = 16 THEN ':00' ELSE '' END
            AS TIMESTAMP
        )
    END
