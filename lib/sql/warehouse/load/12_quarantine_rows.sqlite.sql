-- Key: (source, delivery_seq, source_line). Loading a delivery again adds nothing.
INSERT INTO quarantine_rows (source, delivery_seq, source_line, identity)
SELECT
    :source,
    delivery_seq,
    source_line,
    identity
FROM scratch.rejected
WHERE true
ON CONFLICT (source, delivery_seq, source_line) DO NOTHING
