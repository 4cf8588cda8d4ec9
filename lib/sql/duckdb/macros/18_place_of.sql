-- A row's place in the order of delivery, which compares as such.
CREATE MACRO place_of(delivery_seq, source_line) AS {'seq': delivery_seq, 'line': source_line}
