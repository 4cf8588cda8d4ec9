-- Grain: one row per refused row of the batch, in its original text. Identity: SHA-256 of the source and the raw texts.
WITH kept AS (
    SELECT
        delivery_seq,
        source_line,
        reasons,
        visit_id AS visit_key,
        CASE WHEN NOT has_reason(reasons, 'future_last_updated') THEN stamp END AS stamp,
        $raw_texts,
        text_at(texts, -1) AS malformed
    FROM judged
    WHERE texts IS NOT NULL
)
SELECT
    *,
    sha256_of(
        CASE
            WHEN malformed IS NOT NULL THEN concat($source, chr(31), 'malformed', chr(31), malformed)
            ELSE concat($source, chr(31), $joined_texts)
        END
    ) AS identity
FROM kept
