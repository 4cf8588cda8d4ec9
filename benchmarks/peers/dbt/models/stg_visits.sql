-- Grain: one row per record of the files in inbox/, typed; reasons is null where nothing is wrong with it. Its rowid keeps
-- the order of the records (DuckDB preserves it), which row_number() would give too, but on one thread only.
WITH source AS (
    SELECT *
    FROM read_csv(
        'inbox/*.csv',
        header = true,
        delim = ',',
        quote = '"',
        auto_detect = false,
        columns = {
            'visit_id': 'VARCHAR',
            'patient_id': 'VARCHAR',
            'provider_id': 'VARCHAR',
            'diagnosis_code': 'VARCHAR',
            'visit_date': 'VARCHAR',
            'visit_cost': 'VARCHAR',
            'last_updated': 'VARCHAR'
        },
        null_padding = true, -- a row cut short has nulls for what it lacks; an empty cell is '' and no null
        nullstr = '\N',
        filename = true
    )
),

cleaned AS (
    SELECT
        filename,
        visit_id AS raw_visit_id,
        patient_id AS raw_patient_id,
        provider_id AS raw_provider_id,
        diagnosis_code AS raw_diagnosis_code,
        visit_date AS raw_visit_date,
        visit_cost AS raw_visit_cost,
        last_updated AS raw_last_updated,
        last_updated IS NULL AS is_malformed,
        {{ value('visit_id') }} AS visit_id,
        {{ value('patient_id') }} AS patient_id,
        {{ value('provider_id') }} AS provider_id,
        {{ value('diagnosis_code') }} AS diagnosis_code,
        {{ value('visit_date') }} AS visit_date_text,
        {{ value('visit_cost') }} AS visit_cost_text,
        {{ value('last_updated') }} AS last_updated_text
    FROM source
),

typed AS (
    SELECT
        *,
        CASE
            WHEN regexp_full_match(visit_date_text, {{ iso() }}) THEN try_cast(left(visit_date_text, 10) AS DATE)
        END AS visit_date,
        CASE
            WHEN regexp_full_match(visit_cost_text, '-?[0-9]+(\.[0-9]+)?') THEN try_cast(visit_cost_text AS DECIMAL(18, 2))
        END AS visit_cost,
        CASE
            WHEN regexp_full_match(last_updated_text, {{ iso() }}) THEN try_cast(last_updated_text AS TIMESTAMP)
        END AS last_updated
    FROM cleaned
),

judged AS (
    SELECT
        *,
        nullif(
            CASE
                WHEN is_malformed THEN 'malformed_row'
                ELSE concat_ws(
                    ',',
                    CASE
                        WHEN visit_id IS NULL THEN 'missing_visit_id'
                        WHEN {{ is_bad_text('visit_id') }} THEN 'invalid_visit_id'
                    END,
                    CASE
                        WHEN patient_id IS NULL THEN 'missing_patient_id'
                        WHEN {{ is_bad_text('patient_id') }} THEN 'invalid_patient_id'
                    END,
                    CASE WHEN {{ is_bad_text('provider_id') }} THEN 'invalid_provider_id' END,
                    CASE WHEN {{ is_bad_text('diagnosis_code') }} THEN 'invalid_diagnosis_code' END,
                    CASE
                        WHEN visit_date_text IS NULL THEN 'missing_visit_date'
                        WHEN visit_date IS NULL THEN 'invalid_visit_date'
                        WHEN visit_date < DATE '1900-01-01' OR visit_date > current_date + {{ var('max_future_days') }}
                            THEN 'visit_date_out_of_range'
                    END,
                    CASE
                        WHEN visit_cost_text IS NULL THEN NULL
                        WHEN visit_cost IS NULL THEN 'invalid_visit_cost'
                        WHEN visit_cost < 0 OR visit_cost > {{ var('max_visit_cost') }} THEN 'visit_cost_out_of_range'
                    END,
                    CASE
                        WHEN last_updated_text IS NULL THEN 'missing_last_updated'
                        WHEN last_updated IS NULL THEN 'invalid_last_updated'
                        WHEN last_updated > (now() AT TIME ZONE 'UTC') + INTERVAL {{ var('clock_skew_minutes') }} MINUTE
                            THEN 'future_last_updated'
                    END
                )
            END,
            ''
        ) AS reasons
    FROM typed
)

SELECT
    filename,
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    visit_date,
    visit_cost,
    last_updated,
    reasons,
    CASE
        WHEN reasons IS NOT NULL THEN {
            'visit_id': raw_visit_id,
            'patient_id': raw_patient_id,
            'provider_id': raw_provider_id,
            'diagnosis_code': raw_diagnosis_code,
            'visit_date': raw_visit_date,
            'visit_cost': raw_visit_cost,
            'last_updated': raw_last_updated
        }
    END AS raw
FROM judged
