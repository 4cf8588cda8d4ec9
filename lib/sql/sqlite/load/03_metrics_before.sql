-- Grain: one row per touched day that has metrics before this batch.
CREATE TEMP TABLE metrics_before AS
SELECT m.*
FROM daily_visit_metrics AS m
JOIN temp.touched_days AS t USING (visit_date)
