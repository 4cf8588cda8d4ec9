-- A sum of counts: 0 where there are none.
CREATE MACRO total(counts) AS CAST(coalesce(sum(counts), 0) AS BIGINT)
