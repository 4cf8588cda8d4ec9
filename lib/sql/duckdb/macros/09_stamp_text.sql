-- A UTC timestamp in the one stored form, fixed width.
CREATE MACRO stamp_text(value) AS strftime(value, '%Y-%m-%dT%H:%M:%S.%f+00:00')
