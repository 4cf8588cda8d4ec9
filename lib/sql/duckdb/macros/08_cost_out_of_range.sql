-- Whether a plain decimal is negative or above the limit, exactly, at any number of digits; -0 is neither.
CREATE MACRO cost_out_of_range(value, most) AS
    CASE
        WHEN left(value, 1) = '-' THEN regexp_matches(value, '[1-9]')
        WHEN length(ltrim(split_part(value, '.', 1), '0')) > 16 THEN true
        ELSE CAST(split_part(value, '.', 1) || '.' || left(split_part(value, '.', 2) || '0', 18) AS DECIMAL(38, 18)) > most
            OR (
                CAST(split_part(value, '.', 1) || '.' || left(split_part(value, '.', 2) || '0', 18) AS DECIMAL(38, 18)) = most
                AND regexp_matches(substr(split_part(value, '.', 2), 19), '[1-9]')
            )
    END
