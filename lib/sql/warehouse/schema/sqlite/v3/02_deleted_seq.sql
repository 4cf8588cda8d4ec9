-- The first full delivery that lacked the visit after the last one that held it.
ALTER TABLE fact_visits ADD COLUMN deleted_seq INTEGER
