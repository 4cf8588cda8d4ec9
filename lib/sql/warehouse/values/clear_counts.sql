-- Counts that changed are written anew.
DELETE FROM visit_value_counts WHERE (kind, value, source) IN (SELECT kind, value, source FROM temp.count_changes)
