-- Grain: one row per refused text, keyed by its identity (SHA-256 of the source and the raw texts). A waiver names who let it
-- be, when, why, and the last day (UTC) on which it counts.
CREATE TABLE quarantine_with_waivers (
    identity TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    visit_key TEXT,
    stamp TEXT,
    reasons TEXT NOT NULL,
    visit_id TEXT,
    patient_id TEXT,
    provider_id TEXT,
    diagnosis_code TEXT,
    visit_date TEXT,
    visit_cost TEXT,
    last_updated TEXT,
    malformed TEXT,
    first_delivery_seq INTEGER NOT NULL,
    first_source_line INTEGER NOT NULL,
    last_delivery_seq INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'superseded', 'waived')),
    superseded_by_seq INTEGER,
    superseded_by_line INTEGER,
    superseded_in_run TEXT,
    waived_by TEXT,
    waived_at TEXT,
    waived_why TEXT,
    waived_until TEXT CHECK (length(waived_until) = 10)
) STRICT, WITHOUT ROWID
