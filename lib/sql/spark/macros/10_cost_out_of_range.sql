-- Whether a plain decimal is negative or above the limit, exactly, at any number of digits; -0 is neither.
CREATE OR REPLACE TEMPORARY FUNCTION cost_out_of_range(value STRING, most DECIMAL(38, 18)) RETURNS BOOLEAN
RETURN CASE
    WHEN left(value, 1) = '-' THEN regexp_like(value, '[1-9]')
    WHEN length(trim(LEADING '0' FROM split_part(value, '.', 1))) > 16 THEN true
    ELSE CAST(concat(split_part(value, '.', 1), '.', left(concat(split_part(value, '.', 2), '0'), 18)) AS DECIMAL(38, 18)) > most
        OR (
            CAST(concat(split_part(value, '.', 1), '.', left(concat(split_part(value, '.', 2), '0'), 18)) AS DECIMAL(38, 18)) = most
            AND regexp_like(substr(split_part(value, '.', 2), 19), '[1-9]')
        )
END
