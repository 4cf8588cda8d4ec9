-- A UTC timestamp as an instant, by its number as well.
CREATE MACRO utc_instant(value) AS make_timestamptz(epoch_us(value))
