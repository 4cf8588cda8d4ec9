-- A timestamp without zone, cut (never rounded) to microseconds, of an ISO text that ends with `zone`; null: it is none.
CREATE OR REPLACE TEMPORARY FUNCTION iso_clock(value STRING, zone STRING) RETURNS TIMESTAMP_NTZ
RETURN CASE
    WHEN zone IS NULL OR left(value, 4) = '0000' THEN NULL
    WHEN length(value) = 10 THEN CAST(try_cast(value AS DATE) AS TIMESTAMP_NTZ)
    ELSE try_cast(
        concat(
            left(value, 10),
            ' ',
            left(substr(value, 12, length(value) - 11 - length(zone)), 15),
            CASE WHEN length(value) - length(zone) = 16 THEN ':00' ELSE '' END
        ) AS TIMESTAMP_NTZ
    )
END
