-- Whether a row lacks a required value.
CREATE OR REPLACE TEMPORARY FUNCTION has_missing(reasons ARRAY<STRING>) RETURNS BOOLEAN
RETURN exists(reasons, each -> startswith(each, 'missing_'))
