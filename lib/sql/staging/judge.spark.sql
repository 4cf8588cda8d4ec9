-- Grain: one row per record of the batch and its context. Types every cell and collects all reasons of a row, in the
-- vocabulary's order. A row is inside the window when its stamp is at or after the cutoff, or cannot be read. `texts`: of
-- a row to be kept as refused, the cells as they came, in the canonical order, and the physical text of a malformed one.
WITH cleaned AS (
    SELECT
        r.delivery_seq,
        r.source_line,
        r.is_visible,
        r.malformed IS NOT NULL AS is_malformed,
        $raw_texts,
        r.malformed AS raw_malformed,
        $cleaned
    FROM records AS r
),
zoned AS (
    SELECT
        c.*,
        CASE WHEN full_match(c.last_updated, $iso) THEN iso_zone(c.last_updated) END AS written_zone
    FROM cleaned AS c
),
parsed AS (
    SELECT
        c.*,
        $visit_date AS parsed_visit_date,
        $local_stamp AS local_stamp,
        zone_seconds(written_zone) AS zone_seconds
    FROM zoned AS c
),
stamped AS (
    -- Spark knows of the records only how many pieces they are read from, and would send them all to every worker instead.
    SELECT /*+ BROADCAST(d) */
        p.*,
        d.is_context,
        d.clock,
        d.latest_visit_date,
        $utc_stamp AS parsed_stamp
    FROM parsed AS p
    JOIN batch_deliveries AS d ON d.delivery_seq = p.delivery_seq
    $zone_join
),
reasoned AS (
    SELECT
        s.*,
        CASE WHEN visit_id IS NULL THEN 'missing_visit_id' WHEN bad_text(visit_id, is_visible) THEN 'invalid_visit_id' END AS of_visit_id,
        CASE WHEN patient_id IS NULL THEN 'missing_patient_id' WHEN bad_text(patient_id, is_visible) THEN 'invalid_patient_id' END AS of_patient_id,
        CASE WHEN bad_text(provider_id, is_visible) THEN 'invalid_provider_id' END AS of_provider_id,
        CASE WHEN bad_text(diagnosis_code, is_visible) THEN 'invalid_diagnosis_code' END AS of_diagnosis_code,
        CASE
            WHEN visit_date IS NULL THEN 'missing_visit_date'
            WHEN parsed_visit_date IS NULL THEN 'invalid_visit_date'
            WHEN parsed_visit_date < $min_visit_date OR parsed_visit_date > latest_visit_date THEN 'visit_date_out_of_range'
        END AS of_visit_date,
        CASE
            WHEN visit_cost IS NULL THEN NULL
            WHEN NOT plain_decimal(visit_cost) THEN 'invalid_visit_cost'
            WHEN cost_out_of_range(visit_cost, $max_visit_cost) THEN 'visit_cost_out_of_range'
        END AS of_visit_cost,
        CASE
            WHEN NOT $stamped THEN NULL
            WHEN last_updated IS NULL THEN 'missing_last_updated'
            WHEN parsed_stamp IS NULL THEN 'invalid_last_updated'
            WHEN parsed_stamp > seconds_before(clock, -$clock_skew_seconds) THEN 'future_last_updated'
        END AS of_last_updated
    FROM stamped AS s
),
decided AS (
    SELECT
        r.*,
        NOT is_malformed AND coalesce(
            of_visit_id, of_patient_id, of_provider_id, of_diagnosis_code, of_visit_date, of_visit_cost, of_last_updated
        ) IS NULL AS is_accepted,
        $cutoff IS NULL OR parsed_stamp IS NULL OR parsed_stamp >= $cutoff AS is_inside
    FROM reasoned AS r
)
SELECT
    delivery_seq,
    source_line,
    is_context,
    CASE
        WHEN is_accepted THEN CAST(array() AS ARRAY<STRING>)
        WHEN is_malformed THEN array('malformed_row')
        ELSE array_compact(
            array(of_visit_id, of_patient_id, of_provider_id, of_diagnosis_code, of_visit_date, of_visit_cost, of_last_updated)
        )
    END AS reasons,
    is_accepted,
    is_inside,
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    parsed_visit_date AS visit_date,
    CASE WHEN is_accepted THEN cost_cents(visit_cost) END AS visit_cost_cents,
    parsed_stamp AS stamp,
    CASE WHEN NOT is_accepted AND is_inside AND NOT is_context THEN array($texts, raw_malformed) END AS texts$carried
FROM decided
