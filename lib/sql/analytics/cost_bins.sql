-- Grain: one row per order of magnitude and first two digits of a cost. Key: digits, leading. Below 1.00: digits 2.
-- Interval: costs of [leading, leading + 1) x 10^(digits - 2) cents.
SELECT
    CASE WHEN LENGTH(value) < 3 THEN 2 ELSE LENGTH(value) END AS digits,
    CASE WHEN LENGTH(value) < 3 THEN 0 ELSE CAST(SUBSTR(value, 1, 2) AS INTEGER) END AS "leading",
    SUM(visits) AS visits
FROM visit_value_counts
WHERE kind = 'visit_cost_cents' AND value <> '' AND (:source IS NULL OR source = :source)
GROUP BY 1, 2
