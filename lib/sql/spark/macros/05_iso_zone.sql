-- The zone that ends an ISO text, '' when there is none. Give it texts that match the ISO pattern only.
CREATE OR REPLACE TEMPORARY FUNCTION iso_zone(value STRING) RETURNS STRING
RETURN regexp_extract(substr(value, 17), r'(Z|[+-][0-9:]+)\z', 1)
