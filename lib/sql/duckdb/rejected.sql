-- Grain: one row per refused row of the batch, in its original text. Identity: SHA-256 of the source and the raw texts.
CREATE TABLE rejected AS
WITH texts AS (
    SELECT
        j.delivery_seq,
        j.source_line,
        j.reasons,
        j.visit_id AS visit_key,
        CASE WHEN NOT list_contains(j.reasons, 'future_last_updated') THEN j.stamp END AS stamp,
        $raw_texts,
        r.malformed
    FROM judged AS j
    JOIN records AS r USING (delivery_seq, source_line)
    WHERE NOT j.is_accepted AND j.is_inside AND NOT j.is_context
)
SELECT
    *,
    sha256(
        CASE
            WHEN malformed IS NOT NULL THEN concat($source, chr(31), 'malformed', chr(31), malformed)
            ELSE concat($source, chr(31), $joined_texts)
        END
    ) AS identity
FROM texts
