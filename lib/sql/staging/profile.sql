-- Grain: one row per delivery of the batch, and one for the batch: what became of every record read. `duplicate_keys`: staged
-- rows of a visit beyond its first, whatever deliveries they are of, counted under the last of these.
SELECT
    CASE WHEN grouping(delivery_seq) = 1 THEN 'batch' ELSE printf('delivery %06d', delivery_seq) END AS scope,
    grouping(delivery_seq) = 1 AS is_batch,
    delivery_seq,
    CAST(coalesce(sum(rows_read), 0) AS BIGINT) AS rows_read,
    CAST(coalesce(sum(outside_held), 0) AS BIGINT) AS outside_held,
    CAST(coalesce(sum(outside_missed), 0) AS BIGINT) AS outside_missed,
    CAST(coalesce(sum(outside_invalid), 0) AS BIGINT) AS outside_invalid,
    CAST(coalesce(sum(refused), 0) AS BIGINT) AS refused,
    CAST(coalesce(sum(known_refused), 0) AS BIGINT) AS known_refused,
    CAST(coalesce(sum(newly_refused), 0) AS BIGINT) AS newly_refused,
    CAST(coalesce(sum(newly_missing), 0) AS BIGINT) AS newly_missing,
    CAST(coalesce(sum(newly_invalid_visit_date), 0) AS BIGINT) AS newly_invalid_visit_date,
    CAST(coalesce(sum(accepted_inside), 0) - coalesce(sum(staged), 0) AS BIGINT) AS superseded,
    CAST(coalesce(sum(staged), 0) AS BIGINT) AS staged,
    CAST(coalesce(sum(inserted), 0) AS BIGINT) AS inserted,
    CAST(coalesce(sum(updated), 0) AS BIGINT) AS updated,
    CAST(coalesce(sum(unchanged), 0) AS BIGINT) AS unchanged,
    CAST(coalesce(sum(written), 0) AS BIGINT) AS written,
    CAST(coalesce(sum(null_cost), 0) AS BIGINT) AS null_cost,
    CAST(coalesce(sum(duplicate_keys), 0) AS BIGINT) AS duplicate_keys,
    CAST(coalesce(sum(same_stamp_changes), 0) AS BIGINT) AS same_stamp_changes,
    greatest(max(newest_accepted), $newest_known) AS newest_accepted,
    max(newest_inside) AS newest_inside,
    min(oldest_missed) AS oldest_missed
FROM (
    SELECT
        d.delivery_seq,
        j.rows_read,
        j.accepted_inside,
        j.newest_accepted,
        j.newest_inside,
        o.outside_held,
        o.outside_missed,
        o.outside_invalid,
        o.oldest_missed,
        r.refused,
        r.known_refused,
        r.newly_refused,
        r.newly_missing,
        r.newly_invalid_visit_date,
        s.staged,
        s.inserted,
        s.updated,
        s.unchanged,
        s.written,
        s.null_cost,
        k.duplicate_keys,
        t.same_stamp_changes
    FROM batch_deliveries AS d
    LEFT JOIN (
        SELECT
            delivery_seq,
            count(*) AS rows_read,
            count(*) FILTER (WHERE is_accepted AND is_inside) AS accepted_inside,
            max(stamp) FILTER (WHERE is_accepted) AS newest_accepted,
            max(stamp) FILTER (WHERE is_accepted AND is_inside) AS newest_inside
        FROM judged
        GROUP BY delivery_seq
    ) AS j USING (delivery_seq)
    LEFT JOIN (
        SELECT
            delivery_seq,
            count(*) FILTER (WHERE fate = 'held') AS outside_held,
            count(*) FILTER (WHERE fate = 'missed') AS outside_missed,
            count(*) FILTER (WHERE fate = 'invalid') AS outside_invalid,
            min(stamp) FILTER (WHERE fate = 'missed') AS oldest_missed
        FROM outside
        GROUP BY delivery_seq
    ) AS o USING (delivery_seq)
    LEFT JOIN (
        SELECT
            delivery_seq,
            count(*) AS refused,
            count(*) FILTER (WHERE known) AS known_refused,
            count(*) FILTER (WHERE NOT known) AS newly_refused,
            count(*) FILTER (WHERE NOT known AND has_missing(reasons)) AS newly_missing,
            count(*) FILTER (WHERE NOT known AND has_reason(reasons, 'invalid_visit_date')) AS newly_invalid_visit_date
        FROM rejected
        GROUP BY delivery_seq
    ) AS r USING (delivery_seq)
    LEFT JOIN (
        SELECT
            latest_seq AS delivery_seq,
            count(*) AS staged,
            count(*) FILTER (WHERE action = 'inserted') AS inserted,
            count(*) FILTER (WHERE action = 'updated') AS updated,
            count(*) FILTER (WHERE action = 'unchanged') AS unchanged,
            count(*) FILTER (WHERE is_written) AS written,
            count(*) FILTER (WHERE visit_cost IS NULL) AS null_cost
        FROM staged
        GROUP BY latest_seq
    ) AS s USING (delivery_seq)
    LEFT JOIN (
        SELECT
            delivery_seq,
            sum(staged_rows - 1) AS duplicate_keys
        FROM (
            SELECT
                max(latest_seq) AS delivery_seq,
                count(*) AS staged_rows
            FROM staged
            SEMI JOIN (SELECT visit_id FROM staged GROUP BY visit_id HAVING count(*) > 1) USING (visit_id)
            GROUP BY visit_id
        )
        GROUP BY delivery_seq
    ) AS k USING (delivery_seq)
    LEFT JOIN (
        SELECT
            latest_seq AS delivery_seq,
            count(*) FILTER (WHERE action <> 'unchanged' AND is_same_stamp) AS same_stamp_changes
        FROM staged_contended
        GROUP BY latest_seq
    ) AS t USING (delivery_seq)
    WHERE NOT d.is_context
)
GROUP BY GROUPING SETS ((delivery_seq), ())
ORDER BY delivery_seq NULLS FIRST
