-- A timestamp so many seconds before another.
CREATE OR REPLACE TEMPORARY FUNCTION seconds_before(value TIMESTAMP_NTZ, seconds INT) RETURNS TIMESTAMP_NTZ
RETURN timestampadd(SECOND, -seconds, value)
