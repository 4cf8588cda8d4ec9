-- Grain: one row per visit, its newest version. A load looks a day behind the newest stamp in the table.
{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='visit_id',
    merge_update_condition='DBT_INTERNAL_SOURCE.last_updated >= DBT_INTERNAL_DEST.last_updated'
) }}

SELECT
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    visit_cost,
    last_updated
FROM {{ ref('stg_visits') }}
WHERE
    reasons IS NULL
    {% if is_incremental() %}
    AND last_updated >= (SELECT max(last_updated) - INTERVAL {{ var('lookback_hours') }} HOUR FROM {{ this }})
    {% endif %}
QUALIFY row_number() OVER (PARTITION BY visit_id ORDER BY last_updated DESC, rowid DESC) = 1
