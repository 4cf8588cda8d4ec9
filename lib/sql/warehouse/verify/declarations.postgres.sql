-- Grain: one row per part of a table's declaration: a column with its type, collation, null, default and generation; a check
-- or key.
SELECT
    c.relname,
    concat_ws(
        ' ',
        a.attname,
        format_type(a.atttypid, a.atttypmod),
        a.attnotnull,
        o.collname,
        pg_get_expr(d.adbin, d.adrelid),
        a.attgenerated
    ) AS part
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
WHERE c.relkind = 'r' AND c.relnamespace = $schema
UNION ALL
SELECT
    c.relname,
    pg_get_constraintdef(k.oid) AS part
FROM pg_class AS c
JOIN pg_constraint AS k ON k.conrelid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = $schema
