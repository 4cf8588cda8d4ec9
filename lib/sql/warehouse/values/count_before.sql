-- Grain: as visit_value_counts, of the facts that a block may touch, before it.
CREATE TEMP TABLE counts_before AS
$counted
