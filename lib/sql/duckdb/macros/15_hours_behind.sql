-- Whole hours, rounded up, that a stamp lies behind a watermark; 0: at or after it.
CREATE MACRO hours_behind(stamp, watermark) AS
    greatest(0, (date_diff('microseconds', stamp, watermark) + 3599999999) // 3600000000)
