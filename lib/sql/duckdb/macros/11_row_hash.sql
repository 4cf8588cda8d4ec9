-- SHA-256 of the seven canonical values joined by U+001F: null empty, cost with two decimals, stamp in its stored form.
CREATE MACRO hash_of(visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents, stamp) AS
    sha256(concat(
        visit_id, chr(31),
        patient_id, chr(31),
        provider_id, chr(31),
        diagnosis_code, chr(31),
        visit_date, chr(31),
        cost_of(visit_cost_cents), chr(31),
        stamp_text(stamp)
    ))
