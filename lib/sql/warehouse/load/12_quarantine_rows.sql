-- Key: (source, delivery_seq, source_line). Loading a delivery again adds nothing.
INSERT INTO quarantine_rows (source, delivery_seq, source_line, identity)
SELECT
    :source,
    r.delivery_seq,
    r.source_line,
    r.identity
FROM scratch.rejected AS r
WHERE NOT EXISTS (
    SELECT 1
    FROM quarantine_rows AS q
    WHERE q.source = :source AND q.delivery_seq = r.delivery_seq AND q.source_line = r.source_line
)
