-- Whether a text is a plain decimal: digits, at most one point with digits on both sides, a minus sign at most.
CREATE OR REPLACE TEMPORARY FUNCTION plain_decimal(value STRING) RETURNS BOOLEAN
RETURN full_match(value, r'-?[0-9]+(\.[0-9]+)?')
