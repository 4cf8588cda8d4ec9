-- Grain: one row per refused record of every load, as it was written, with all its reasons.
{{ config(materialized='incremental', incremental_strategy='append') }}

SELECT
    filename,
    rowid + 1 AS record,
    reasons,
    raw,
    now() AS loaded_at
FROM {{ ref('stg_visits') }}
WHERE reasons IS NOT NULL
