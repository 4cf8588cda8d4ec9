"""Load a file of visits into SQLite with pandas: type, refuse, keep the newest version, upsert, daily metrics.

    python load_visits.py visits.csv visits.db

What an analyst would write in an afternoon: one file, no record of the run, no gate; a crash between two steps is
mended by running it again.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pandas as pd

COLUMNS = ["visit_id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost", "last_updated"]
TEXTS = COLUMNS[:4]
CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
ISO = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?:[T ]{CLOCK}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?"
BAD_TEXT = r"[\x00-\x1F\x7F-\x9F\u00AD\u061C\u180E\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF]"
LOOKBACK, MAX_COST, MAX_REFUSED_SHARE, MIN_FAILING_ROWS = pd.Timedelta(hours=24), 10_000_000, 0.05, 3

SCHEMA = """
CREATE TABLE IF NOT EXISTS fact_visits (
    visit_id TEXT PRIMARY KEY, patient_id TEXT NOT NULL, provider_id TEXT, diagnosis_code TEXT,
    visit_date TEXT NOT NULL, visit_cost_cents INTEGER, last_updated TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS rejected_visits (
    source_line INTEGER, reasons TEXT, visit_id TEXT, patient_id TEXT, provider_id TEXT, diagnosis_code TEXT,
    visit_date TEXT, visit_cost TEXT, last_updated TEXT
);
CREATE TABLE IF NOT EXISTS daily_visit_metrics (
    visit_date TEXT PRIMARY KEY, visit_count INTEGER, patient_count INTEGER, total_visit_cost_cents INTEGER,
    avg_visit_cost_cents INTEGER, missing_cost_count INTEGER
);
"""
UPSERT = """
INSERT INTO fact_visits VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (visit_id) DO UPDATE SET
    patient_id = excluded.patient_id, provider_id = excluded.provider_id, diagnosis_code = excluded.diagnosis_code,
    visit_date = excluded.visit_date, visit_cost_cents = excluded.visit_cost_cents, last_updated = excluded.last_updated
WHERE excluded.last_updated >= fact_visits.last_updated
"""
METRICS = """
INSERT INTO daily_visit_metrics
SELECT
    visit_date, count(*), count(DISTINCT patient_id), coalesce(sum(visit_cost_cents), 0),
    (2 * sum(visit_cost_cents) + count(visit_cost_cents)) / (2 * count(visit_cost_cents)),
    count(*) - count(visit_cost_cents)
FROM fact_visits
GROUP BY visit_date
"""


def read(path: Path) -> pd.DataFrame:
    """Every record as text; what a short row lacks is blank."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=COLUMNS)
    rows["source_line"] = range(2, len(rows) + 2)
    return rows


def judge(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows typed, and what is wrong with each: '' when nothing is."""
    cells = rows[COLUMNS].apply(lambda column: column.str.strip(" \t"))
    cells = cells.mask(cells == "")
    is_iso = {name: cells[name].str.fullmatch(ISO, na=False) for name in ("visit_date", "last_updated")}
    typed = cells[TEXTS].copy()
    days = cells["visit_date"].str.slice(0, 10).where(is_iso["visit_date"])
    typed["visit_date"] = pd.to_datetime(days, format="%Y-%m-%d", errors="coerce")
    is_cost = cells["visit_cost"].str.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", na=False)
    cost = pd.to_numeric(cells["visit_cost"].where(is_cost), errors="coerce").astype("Float64")
    typed["visit_cost_cents"] = (cost * 100).round().astype("Int64")
    stamps = cells["last_updated"].where(is_iso["last_updated"])
    typed["last_updated"] = pd.to_datetime(stamps, format="ISO8601", utc=True, errors="coerce")

    now = pd.Timestamp.now("UTC")
    latest_day = now.tz_localize(None).normalize() + pd.Timedelta(days=1)
    wrong = {}
    for name in TEXTS:
        if name in ("visit_id", "patient_id"):
            wrong[f"missing_{name}"] = cells[name].isna()
        wrong[f"invalid_{name}"] = cells[name].str.contains(BAD_TEXT, na=False) | (cells[name].str.len() > 128)
    wrong |= {
        "missing_visit_date": cells["visit_date"].isna(),
        "invalid_visit_date": cells["visit_date"].notna() & typed["visit_date"].isna(),
        "visit_date_out_of_range": (typed["visit_date"] < "1900-01-01") | (typed["visit_date"] > latest_day),
        "invalid_visit_cost": cells["visit_cost"].notna() & cost.isna(),
        "visit_cost_out_of_range": ((cost < 0) | (cost > MAX_COST)).fillna(False),
        "missing_last_updated": cells["last_updated"].isna(),
        "invalid_last_updated": cells["last_updated"].notna() & typed["last_updated"].isna(),
        "future_last_updated": typed["last_updated"] > now + pd.Timedelta(minutes=5),
    }
    reasons = pd.Series("", index=rows.index, dtype=object)
    for reason, found in wrong.items():
        reasons[found.fillna(False).astype(bool)] += "," + reason
    typed["reasons"] = reasons.str.removeprefix(",")
    return typed


def load(path: Path, database: Path) -> None:
    """One delivery into the tables. Raises ValueError when too much of it is refused; nothing is loaded then."""
    rows = read(path)
    typed = judge(rows)
    is_refused = typed["reasons"] != ""
    refused = rows[is_refused].assign(reasons=typed["reasons"][is_refused])
    if len(refused) >= MIN_FAILING_ROWS and len(refused) > MAX_REFUSED_SHARE * len(rows):
        raise ValueError(f"{path.name}: {len(refused)} of {len(rows)} rows refused")
    visits = typed[~is_refused].drop(columns="reasons")

    connection = sqlite3.connect(database)
    connection.executescript(SCHEMA)
    newest = connection.execute("SELECT max(last_updated) FROM fact_visits").fetchone()[0]
    if newest is not None:
        visits = visits[visits["last_updated"] >= pd.Timestamp(newest) - LOOKBACK]
    visits = visits.sort_values("last_updated", kind="stable").drop_duplicates("visit_id", keep="last")
    visits["visit_date"] = visits["visit_date"].dt.strftime("%Y-%m-%d")
    visits["last_updated"] = visits["last_updated"].dt.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    with connection:
        values = visits.astype(object).where(visits.notna(), None)
        connection.executemany(UPSERT, values.itertuples(index=False, name=None))
        refused[["source_line", "reasons", *COLUMNS]].to_sql(
            "rejected_visits", connection, if_exists="append", index=False
        )
        connection.execute("DELETE FROM daily_visit_metrics")
        connection.execute(METRICS)
    check(connection)
    connection.close()


def check(connection: sqlite3.Connection) -> None:
    """What the tables must be after a load; a primary key keeps visits unique."""
    visits, days, costs = connection.execute(
        "SELECT (SELECT count(*) FROM fact_visits), (SELECT sum(visit_count) FROM daily_visit_metrics), "
        f"(SELECT count(*) FROM fact_visits WHERE visit_cost_cents NOT BETWEEN 0 AND {MAX_COST * 100})"
    ).fetchone()
    assert visits == (days or 0), f"{visits} visits, {days} in the metrics"
    assert costs == 0, f"{costs} costs out of range"


if __name__ == "__main__":
    load(Path(sys.argv[1]), Path(sys.argv[2]))
