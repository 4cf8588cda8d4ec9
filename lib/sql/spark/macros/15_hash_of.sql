-- SHA-256 of the seven canonical values joined by U+001F: null empty, cost with two decimals, stamp in its stored form.
CREATE OR REPLACE TEMPORARY FUNCTION hash_of(
    visit_id STRING,
    patient_id STRING,
    provider_id STRING,
    diagnosis_code STRING,
    visit_date DATE,
    visit_cost_cents BIGINT,
    stamp TIMESTAMP_NTZ
) RETURNS STRING
RETURN sha256_of(concat(
    coalesce(visit_id, ''), chr(31),
    coalesce(patient_id, ''), chr(31),
    coalesce(provider_id, ''), chr(31),
    coalesce(diagnosis_code, ''), chr(31),
    coalesce(CAST(visit_date AS STRING), ''), chr(31),
    coalesce(CAST(cost_of(visit_cost_cents) AS STRING), ''), chr(31),
    coalesce(stamp_text(stamp), '')
))
