-- Whether a row lacks a required value.
CREATE MACRO has_missing(reasons) AS len(list_filter(reasons, lambda r: starts_with(r, 'missing_'))) > 0
