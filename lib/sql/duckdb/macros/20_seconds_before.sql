-- A timestamp so many seconds before another.
CREATE MACRO seconds_before(value, seconds) AS value - to_seconds(seconds)
