-- Grain: at most two rows per visit that a refused row of the batch names: of the accepted versions in the batch's context the
-- greatest, and the one delivered last. They are loaded already, and answer the refusal of a delivery that comes in late.
SELECT
    visit_id,
    stamp,
    delivery_seq,
    source_line
FROM versions
WHERE is_context AND visit_id IN (SELECT visit_key FROM rejected)
QUALIFY
    row_number() OVER (PARTITION BY visit_id ORDER BY stamp DESC, delivery_seq DESC, source_line DESC) = 1
    OR row_number() OVER (PARTITION BY visit_id ORDER BY delivery_seq DESC, source_line DESC) = 1
