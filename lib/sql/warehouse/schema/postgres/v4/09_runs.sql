-- Grain: one row per run that loaded, written by its commit: whether a run loaded is asked here, never of its record.
CREATE TABLE runs (
    run_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    source TEXT COLLATE "C" NOT NULL,
    batch TEXT COLLATE "C" NOT NULL,
    as_of TEXT COLLATE "C" NOT NULL,
    committed TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    watermark_before TEXT COLLATE "C",
    watermark_after TEXT COLLATE "C",
    version BIGINT NOT NULL,
    counts TEXT COLLATE "C" NOT NULL,
    rules TEXT COLLATE "C"
)
