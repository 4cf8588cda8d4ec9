-- Grain: one row per run that loaded.
INSERT INTO runs (
    run_id, source, batch, as_of, committed, actor, watermark_before, watermark_after, version, counts, rules
)
VALUES (
    :run_id, :source, :batch, :as_of, :committed, :actor, :watermark_before, :watermark, :version, :counts, :rules
)
