-- Whether a reason is among those of a row.
CREATE OR REPLACE TEMPORARY FUNCTION has_reason(reasons ARRAY<STRING>, reason STRING) RETURNS BOOLEAN
RETURN array_contains(reasons, reason)
