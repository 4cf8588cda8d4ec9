-- Grain: one row per visit. Its row_hash is null where it is not that of its values, with the stamp or (of a source without one)
-- without it: so a hash of the rest of the row is one of the whole row.
SELECT * REPLACE (CASE WHEN row_hash IN (sha256(undated || stamp), sha256(undated)) THEN row_hash END AS row_hash)
FROM (
    SELECT
        *,
        concat(
            visit_id, chr(31),
            patient_id, chr(31),
            coalesce(provider_id, ''), chr(31),
            coalesce(diagnosis_code, ''), chr(31),
            CAST(visit_date AS VARCHAR), chr(31),
            coalesce(CAST(visit_cost AS VARCHAR), ''), chr(31)
        ) AS undated,
        strftime(last_updated, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp
    FROM fact_visits
)
