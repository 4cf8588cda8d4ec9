-- Grain: one row: the visits whose lineage names a delivery that was never taken.
SELECT COUNT(*) AS visits
FROM fact_visits AS f
LEFT JOIN deliveries AS d ON d.source = f.source AND d.sequence = f.delivery_seq
WHERE d.sequence IS NULL
