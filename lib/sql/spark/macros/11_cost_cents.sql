-- A plain decimal in range, in cents, rounded half away from zero: only the third decimal can decide that.
CREATE OR REPLACE TEMPORARY FUNCTION cost_cents(value STRING) RETURNS BIGINT
RETURN CAST(split_part(trim(LEADING '-' FROM value), '.', 1) AS BIGINT) * 100
    + CAST(left(concat(split_part(value, '.', 2), '00'), 2) AS BIGINT)
    + CAST(substr(split_part(value, '.', 2), 3, 1) >= '5' AS BIGINT)
