-- Grain: one row per delivery (source, sequence) and where it stands. The delivery itself is in the raw ledger.
CREATE TABLE deliveries (
    source TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    snapshot TEXT COLLATE "C" NOT NULL,
    clock TEXT COLLATE "C" NOT NULL,
    taken_by TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'loaded', 'held', 'refused', 'discarded')),
    run_id TEXT COLLATE "C",
    header TEXT COLLATE "C",
    rows_read BIGINT,
    comparable BIGINT NOT NULL DEFAULT 0,
    failed_rules TEXT COLLATE "C",
    reason TEXT COLLATE "C",
    rules TEXT COLLATE "C",
    PRIMARY KEY (source, sequence)
)
