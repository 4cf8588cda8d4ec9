-- A text of a list, the first is 1, the last is -1.
CREATE MACRO text_at(texts, place) AS texts[place]
