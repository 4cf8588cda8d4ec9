-- Grain: one row per refused row of the batch, in its original text. Identity: SHA-256 of the source and the raw texts.
CREATE TABLE refused AS
WITH kept AS (
    SELECT
        delivery_seq,
        source_line,
        reasons,
        visit_id AS visit_key,
        CASE WHEN NOT list_contains(reasons, 'future_last_updated') THEN stamp END AS stamp,
        $raw_texts,
        texts[-1] AS malformed
    FROM judged
    WHERE texts IS NOT NULL
)
SELECT
    *,
    sha256(
        CASE
            WHEN malformed IS NOT NULL THEN concat($source, chr(31), 'malformed', chr(31), malformed)
            ELSE concat($source, chr(31), $joined_texts)
        END
    ) AS identity
FROM kept
