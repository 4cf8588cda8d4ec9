-- Whether a reason is among those of a row.
CREATE MACRO has_reason(reasons, reason) AS list_contains(reasons, reason)
