-- A UTC timestamp in the one stored form, fixed width.
CREATE OR REPLACE TEMPORARY FUNCTION stamp_text(value TIMESTAMP_NTZ) RETURNS STRING
RETURN concat(date_format(value, 'yyyy-MM-dd\'T\'HH:mm:ss.SSSSSS'), '+00:00')
