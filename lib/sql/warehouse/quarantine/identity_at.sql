-- Grain: at most one row: the quarantine entry of the refused row that stood at a delivery's line. Key: source and place.
SELECT identity FROM quarantine_rows WHERE source = :source AND delivery_seq = :delivery AND source_line = :line
