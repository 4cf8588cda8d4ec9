-- Grain: one row per order of magnitude and first two digits of a cost. Key: digits, leading. Below 1.00: digits 2.
-- Interval: costs of [leading, leading + 1) x 10^(digits - 2) cents.
SELECT
    CASE WHEN visit_cost_cents < 100 THEN 2 ELSE LENGTH(CAST(visit_cost_cents AS VARCHAR(20))) END AS digits,
    CASE
        WHEN visit_cost_cents < 100 THEN 0
        ELSE CAST(SUBSTR(CAST(visit_cost_cents AS VARCHAR(20)), 1, 2) AS INTEGER)
    END AS "leading",
    COUNT(*) AS visits
FROM fact_visits
WHERE deleted_at IS NULL AND visit_cost_cents IS NOT NULL AND (:source IS NULL OR source = :source)
GROUP BY 1, 2
