-- Whole hours, rounded up, that a stamp lies behind a watermark; 0: at or after it.
CREATE OR REPLACE TEMPORARY FUNCTION hours_behind(stamp TIMESTAMP_NTZ, watermark TIMESTAMP_NTZ) RETURNS BIGINT
RETURN greatest(0, (timestampdiff(MICROSECOND, stamp, watermark) + 3599999999) DIV 3600000000)
