-- The touched days' metrics are rebuilt whole; a day without visits stays gone.
DELETE FROM daily_visit_metrics WHERE visit_date IN (SELECT visit_date FROM temp.touched_days)
