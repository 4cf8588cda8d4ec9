-- A row's place in the order of delivery, which compares as such.
CREATE OR REPLACE TEMPORARY FUNCTION place_of(delivery_seq BIGINT, source_line BIGINT)
RETURNS STRUCT<seq: BIGINT, line: BIGINT>
RETURN named_struct('seq', delivery_seq, 'line', source_line)
