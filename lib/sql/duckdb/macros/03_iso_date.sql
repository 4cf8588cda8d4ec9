-- The civil date that an ISO text begins with, as written; null when the text is not ISO or the date not real.
CREATE MACRO iso_date(value, pattern) AS
    CASE
        WHEN regexp_full_match(value, pattern) AND left(value, 4) <> '0000' THEN TRY_CAST(left(value, 10) AS DATE)
    END
