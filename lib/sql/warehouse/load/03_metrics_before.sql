-- Grain: one row per day that has metrics before this batch and is rebuilt: a touched one, in a full refresh every one.
CREATE TEMP TABLE metrics_before AS
SELECT *
FROM daily_visit_metrics
WHERE :refresh OR visit_date IN (SELECT visit_date FROM temp.touched_days)
