-- A value that no visit has is no row. A count below none stays: it says that rows are amiss.
INSERT INTO visit_value_counts (kind, value, source, visits)
SELECT
    kind,
    value,
    source,
    visits
FROM temp.count_changes
WHERE visits <> 0
