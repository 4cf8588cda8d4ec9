-- Whether a timestamp, written as UTC to the second or microsecond, is this very text: then the text means nothing else.
CREATE MACRO is_exact_stamp(value, stamp) AS
    CASE strlen(value)
        WHEN 27 THEN strftime(stamp, '%Y-%m-%dT%H:%M:%S.%fZ') = value
        WHEN 20 THEN strftime(stamp, '%Y-%m-%dT%H:%M:%SZ') = value
        ELSE false
    END AND stamp >= TIMESTAMP '0001-01-01 00:00:00'
