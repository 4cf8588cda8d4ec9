-- Grain: one row per visit that the batch may change in the table; an unchanged one whose lineage stays is none.
CREATE TEMP TABLE touched_visits AS
SELECT visit_id FROM scratch.staged WHERE is_written OR action <> 'unchanged'
UNION
SELECT visit_id FROM scratch.deletions
