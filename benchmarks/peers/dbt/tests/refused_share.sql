-- Fails when more of the batch is refused than the clinic agreed to. It runs before anything is loaded from the batch.
SELECT
    count(reasons) AS refused,
    count(*) AS records
FROM {{ ref('stg_visits') }}
HAVING count(reasons) >= {{ var('min_failing_rows') }} AND count(reasons) > {{ var('max_refused_share') }} * count(*)
