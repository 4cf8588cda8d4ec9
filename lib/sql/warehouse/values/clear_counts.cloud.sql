-- Counts that changed are written anew.
DELETE FROM visit_value_counts
WHERE EXISTS (
    SELECT 1
    FROM temp.count_changes AS c
    WHERE c.kind = visit_value_counts.kind AND c.value = visit_value_counts.value AND c.source = visit_value_counts.source
)
