-- Grain: one row: the visits of the checked days whose lineage names a delivery that was never taken.
SELECT COUNT(*) AS visits
FROM fact_visits AS f
WHERE NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.source = f.source AND d.sequence = f.delivery_seq)
    AND $checked
