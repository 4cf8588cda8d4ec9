"""A byte of the warehouse file changes by itself: verify finds it, or nothing that the tables say has changed.

WAREHOUSE_FLIPS sets how many bytes are tried, spread over the whole file (0: every byte).
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lib import validate
from lib.errors import StoredDataChanged, TemporaryFailure
from lib.layout import Layout
from lib.verify import verify_tables
from lib.warehouse import TABLES
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.plain_gate import plain_gate

FLIPS = int(os.environ.get("WAREHOUSE_FLIPS", "300"))
SECRET = "Canary"


def small_warehouse(clinic: Clinic) -> None:
    """Loads, corrections, refusals, missed rows and a held delivery."""
    rows = [row(f"{SECRET}{n}", patient_id=f"{SECRET}P{n}", visit_date=f"2025-02-{n % 20 + 1:02d}") for n in range(60)]
    clinic.deliver([*rows, row("Q", patient_id="", provider_id=SECRET)])
    assert clinic.run().exit_code == 0
    later = [dict(each, visit_cost="9.00", last_updated="2025-03-02T01:00:00Z") for each in rows[:9]]
    clinic.deliver([*later, row("M", last_updated="2025-01-01T00:00:00Z")])
    assert clinic.run("2025-03-03T00:00:00Z").exit_code == 0
    clinic.deliver([row(f"B{n}", patient_id="") for n in range(5)])
    assert clinic.run("2025-03-04T00:00:00Z").exit_code == 4


def content(path: Path) -> Any:
    """Everything that the tables say, or why it cannot be read."""
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    try:
        found = {}
        for table in sorted(TABLES - {"content_hashes"}):
            columns = [each[1] for each in connection.execute(f"PRAGMA table_xinfo({table})")]
            rows = connection.execute(f"SELECT {', '.join(_name(each) for each in columns)} FROM {table}").fetchall()
            found[table] = (columns, sorted(rows, key=repr))
        return found
    except sqlite3.Error as error:
        return type(error).__name__
    finally:
        connection.close()


def _name(column: bytes | str) -> str:
    text = column.decode(errors="replace") if isinstance(column, bytes) else column
    return '"' + text.replace('"', '""') + '"'


def places(size: int) -> list[int]:
    if not FLIPS or size <= FLIPS:
        return list(range(size))
    return sorted({*range(100), *random.Random(7).sample(range(size), FLIPS)})  # the header is always tried whole


def test_every_flipped_byte_is_found_or_changes_nothing(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    small_warehouse(clinic)
    layout = Layout.at(clinic.data_dir, None)
    path = clinic.warehouse
    sound = path.read_bytes()
    said = content(path)
    assert verify_tables(layout) == []
    ends: Counter[str] = Counter()
    chance = random.Random(11)
    for place in places(len(sound)):
        flipped = bytearray(sound)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            texts = [f"{each.where}: {each.what}" for each in verify_tables(layout)]
            end = "found" if texts else "nothing changed"
        except (StoredDataChanged, TemporaryFailure) as error:
            texts, end = [str(error)], type(error).__name__
        assert not any(SECRET in text for text in texts), place
        if end in ("nothing changed", "TemporaryFailure"):
            assert content(path) == said, f"byte {place} of {len(sound)}: {end}"
        ends[end] += 1
        for name in ("-journal", "-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
    print(dict(ends), f"of {len(places(len(sound))):,} bytes of {len(sound):,}")
    assert ends["found"] > ends["nothing changed"] / 100


def test_a_damaged_schema_that_is_no_utf_8_is_named_too(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    small_warehouse(clinic)
    content = clinic.warehouse.read_bytes()
    place = content.index(b"CREATE TABLE state (")
    clinic.warehouse.write_bytes(content[: place + 8] + b"\xe9" + content[place + 9 :])
    with pytest.raises(StoredDataChanged, match="not a sound SQLite database"):
        verify_tables(Layout.at(clinic.data_dir, None))


def test_a_column_of_another_name_is_named_too(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    small_warehouse(clinic)
    content = clinic.warehouse.read_bytes()
    place = content.index(b"CREATE TABLE runs (\n    run_id")
    clinic.warehouse.write_bytes(
        content.replace(b"CREATE TABLE runs (\n    run_id", b"CREATE TABLE runs (\n    run_iD")
    )
    assert place and verify_tables(Layout.at(clinic.data_dir, None))
    clinic.warehouse.write_bytes(
        content.replace(b"CREATE TABLE runs (\n    run_id", b"CREATE TABLE runs (\n    bun_id")
    )
    texts = [each.what for each in verify_tables(Layout.at(clinic.data_dir, None))]
    assert "cannot be read (runs)" in texts and "runs is not declared as this release declares it" in texts
