-- A plain decimal in range, in cents, rounded half away from zero: only the third decimal can decide that.
CREATE MACRO cost_cents(value) AS
    CAST(split_part(ltrim(value, '-'), '.', 1) AS BIGINT) * 100
    + CAST(left(split_part(value, '.', 2) || '00', 2) AS BIGINT)
    + CAST(substr(split_part(value, '.', 2), 3, 1) >= '5' AS BIGINT)
