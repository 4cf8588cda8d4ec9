-- Grain: one row per record of the batch and its context. Types every cell and collects all reasons of a row, in the
-- vocabulary's order. A row is inside the window when its stamp is at or after the cutoff, or cannot be read.
CREATE TABLE judged AS
WITH cleaned AS (
    SELECT
        r.delivery_seq,
        r.source_line,
        r.malformed IS NOT NULL AS is_malformed,
        d.is_context,
        d.clock,
        d.latest_visit_date,
        $cleaned
    FROM records AS r
    JOIN batch_deliveries AS d USING (delivery_seq)
),
parsed AS (
    SELECT
        c.*,
        $visit_date AS parsed_visit_date,
        $local_stamp AS local_stamp,
        $zone_seconds AS zone_seconds
    FROM cleaned AS c
),
stamped AS (
    SELECT
        p.*,
        $utc_stamp AS parsed_stamp
    FROM parsed AS p
    $zone_join
),
reasoned AS (
    SELECT
        s.*,
        CASE
            WHEN is_malformed THEN ['malformed_row']
            ELSE list_filter(
                [
                    CASE WHEN visit_id IS NULL THEN 'missing_visit_id' WHEN bad_text(visit_id) THEN 'invalid_visit_id' END,
                    CASE WHEN patient_id IS NULL THEN 'missing_patient_id' WHEN bad_text(patient_id) THEN 'invalid_patient_id' END,
                    CASE WHEN bad_text(provider_id) THEN 'invalid_provider_id' END,
                    CASE WHEN bad_text(diagnosis_code) THEN 'invalid_diagnosis_code' END,
                    CASE
                        WHEN visit_date IS NULL THEN 'missing_visit_date'
                        WHEN parsed_visit_date IS NULL THEN 'invalid_visit_date'
                        WHEN parsed_visit_date < $min_visit_date OR parsed_visit_date > latest_visit_date THEN 'visit_date_out_of_range'
                    END,
                    CASE
                        WHEN visit_cost IS NULL THEN NULL
                        WHEN NOT plain_decimal(visit_cost) THEN 'invalid_visit_cost'
                        WHEN cost_out_of_range(visit_cost, $max_visit_cost) THEN 'visit_cost_out_of_range'
                    END,
                    CASE
                        WHEN NOT $stamped THEN NULL
                        WHEN last_updated IS NULL THEN 'missing_last_updated'
                        WHEN parsed_stamp IS NULL THEN 'invalid_last_updated'
                        WHEN parsed_stamp > clock + to_seconds($clock_skew_seconds) THEN 'future_last_updated'
                    END
                ],
                lambda reason: reason IS NOT NULL
            )
        END AS reasons
    FROM stamped AS s
)
SELECT
    delivery_seq,
    source_line,
    is_context,
    is_malformed,
    reasons,
    len(reasons) = 0 AS is_accepted,
    $cutoff IS NULL OR parsed_stamp IS NULL OR parsed_stamp >= $cutoff AS is_inside,
    visit_id,
    patient_id,
    provider_id,
    diagnosis_code,
    parsed_visit_date AS visit_date,
    CASE WHEN len(reasons) = 0 THEN cost_cents(visit_cost) END AS visit_cost_cents,
    parsed_stamp AS stamp$carried
FROM reasoned
