-- The touched days' metrics are rebuilt whole, in a full refresh every day's; a day without visits stays gone.
DELETE FROM daily_visit_metrics WHERE :refresh OR visit_date IN (SELECT visit_date FROM temp.touched_days)
