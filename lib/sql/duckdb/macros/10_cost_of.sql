-- Cents as money.
CREATE MACRO cost_of(cents) AS CAST(CAST(cents AS DECIMAL(18, 0)) * CAST(0.01 AS DECIMAL(3, 2)) AS DECIMAL(18, 2))
