-- Whether a text is a plain decimal: digits, at most one point with digits on both sides, a minus sign at most.
CREATE MACRO plain_decimal(value) AS regexp_full_match(value, '-?[0-9]+(\.[0-9]+)?')
