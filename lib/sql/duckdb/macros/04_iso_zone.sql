-- The zone that ends an ISO text, '' when there is none. Give it texts that match the ISO pattern only.
CREATE MACRO iso_zone(value) AS regexp_extract(substr(value, 17), '(Z|[+-][0-9:]+)$')
