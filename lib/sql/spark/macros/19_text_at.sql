-- A text of a list, the first is 1, the last is -1.
CREATE OR REPLACE TEMPORARY FUNCTION text_at(texts ARRAY<STRING>, place INT) RETURNS STRING
RETURN element_at(texts, place)
