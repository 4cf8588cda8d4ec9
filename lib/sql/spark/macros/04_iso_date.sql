-- The civil date that an ISO text begins with, as written; null when the text is not ISO or the date not real.
CREATE OR REPLACE TEMPORARY FUNCTION iso_date(value STRING, pattern STRING) RETURNS DATE
RETURN CASE WHEN full_match(value, pattern) AND left(value, 4) <> '0000' THEN try_cast(left(value, 10) AS DATE) END
