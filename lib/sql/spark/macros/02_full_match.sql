-- Whether a whole text matches: `$` would let a line end follow.
CREATE OR REPLACE TEMPORARY FUNCTION full_match(value STRING, pattern STRING) RETURNS BOOLEAN
RETURN regexp_like(value, concat(r'\A(?:', pattern, r')\z'))
