-- Grain: one row per refused record of every load, as it was written, with all its reasons.
{{ config(materialized='incremental', incremental_strategy='append') }}

SELECT
    filename,
    source_line,
    reasons,
    raw,
    now() AS loaded_at
FROM {{ ref('stg_visits') }}
WHERE reasons IS NOT NULL
