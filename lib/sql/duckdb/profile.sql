-- Grain: one row per delivery of the batch, and one for the batch: what became of every record read.
SELECT
    CASE WHEN grouping(delivery_seq) = 1 THEN 'batch' ELSE printf('delivery %06d', delivery_seq) END AS scope,
    grouping(delivery_seq) = 1 AS is_batch,
    delivery_seq,
    total(rows_read) AS rows_read,
    total(outside_held) AS outside_held,
    total(outside_missed) AS outside_missed,
    total(outside_invalid) AS outside_invalid,
    total(refused) AS refused,
    total(known_refused) AS known_refused,
    total(newly_refused) AS newly_refused,
    total(newly_missing) AS newly_missing,
    total(newly_invalid_visit_date) AS newly_invalid_visit_date,
    total(accepted_inside) - total(staged) AS superseded,
    total(staged) AS staged,
    total(inserted) AS inserted,
    total(updated) AS updated,
    total(unchanged) AS unchanged,
    total(written) AS written,
    total(null_cost) AS null_cost,
    total(duplicate_keys) AS duplicate_keys,
    total(same_stamp_changes) AS same_stamp_changes,
    greatest(max(newest_accepted), $newest_known) AS newest_accepted,
    max(newest_inside) AS newest_inside,
    min(oldest_missed) AS oldest_missed
FROM (
    SELECT
        d.delivery_seq,
        j.* EXCLUDE (delivery_seq),
        o.* EXCLUDE (delivery_seq),
        r.* EXCLUDE (delivery_seq),
        s.* EXCLUDE (delivery_seq),
        t.* EXCLUDE (delivery_seq)
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
            count(*) FILTER (WHERE NOT known AND len(list_filter(reasons, lambda r: starts_with(r, 'missing_'))) > 0) AS newly_missing,
            count(*) FILTER (WHERE NOT known AND list_contains(reasons, 'invalid_visit_date')) AS newly_invalid_visit_date
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
            count(*) FILTER (WHERE visit_cost IS NULL) AS null_cost,
            count(*) - count(DISTINCT visit_id) AS duplicate_keys
        FROM staged
        GROUP BY latest_seq
    ) AS s USING (delivery_seq)
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
