-- A UTC timestamp as an instant.
CREATE MACRO utc_instant(value) AS CAST(value AS TIMESTAMPTZ)
