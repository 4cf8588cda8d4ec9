-- Grain: one row per refused text, keyed by its identity (SHA-256 of the source and the raw texts). A waiver names who let it
-- be, when, why, and the last day (UTC) on which it counts.
CREATE TABLE quarantine (
    identity TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    source TEXT COLLATE "C" NOT NULL,
    visit_key TEXT COLLATE "C",
    stamp TEXT COLLATE "C",
    reasons TEXT COLLATE "C" NOT NULL,
    visit_id TEXT COLLATE "C",
    patient_id TEXT COLLATE "C",
    provider_id TEXT COLLATE "C",
    diagnosis_code TEXT COLLATE "C",
    visit_date TEXT COLLATE "C",
    visit_cost TEXT COLLATE "C",
    last_updated TEXT COLLATE "C",
    malformed TEXT COLLATE "C",
    first_delivery_seq BIGINT NOT NULL,
    first_source_line BIGINT NOT NULL,
    last_delivery_seq BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('open', 'superseded', 'waived')),
    superseded_by_seq BIGINT,
    superseded_by_line BIGINT,
    superseded_in_run TEXT COLLATE "C",
    waived_by TEXT COLLATE "C",
    waived_at TEXT COLLATE "C",
    waived_why TEXT COLLATE "C",
    waived_until TEXT COLLATE "C" CHECK (length(waived_until) = 10)
)
