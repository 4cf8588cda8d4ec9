"""The index is made of whatever the records hold: running, damaged and foreign ones are a line as well."""

from __future__ import annotations

import grp
import json
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib import index
from lib.index import write_index
from lib.layout import Layout
from lib.run_records import RunRecord, newest_records
from lib.sealed_page import is_sealed

HOSTILE = "<img src=x onerror=alert(1)>"


def manifest(run_id: str, **sections: Any) -> dict[str, Any]:
    """What a run notes as soon as it begins."""
    begun = {
        "run_id": run_id,
        "source": "clinic",
        "outcome": "running",
        "started": "2025-03-02T06:00:00+00:00",
        "window": {"lookback_hours": 24.0},
    }
    return {**begun, **sections}


def index_of(folder: Path, *manifests: Any) -> str:
    """The index over records that hold these, as objects or as they stand in the file."""
    layout = Layout.at(folder, None)
    for number, content in enumerate(manifests, start=1):
        record = layout.record(f"{number:06d}-20250302T060000Z")
        record.mkdir(parents=True)
        if content is not None:
            (record / "manifest.json").write_text(content if isinstance(content, str) else json.dumps(content))
    path = write_index(layout)
    assert path == folder / "runs" / "index.html" and is_sealed(path.read_bytes())
    return path.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir(mode=0o700)
    return tmp_path


def test_one_record_is_held_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[RunRecord]] = []
    most = 0

    def noted(layout: Layout) -> Iterator[RunRecord]:
        nonlocal most
        for record in newest_records(layout):
            held.append(weakref.ref(record))
            most = max(most, sum(each() is not None for each in held))
            yield record

    monkeypatch.setattr(index, "newest_records", noted)
    index_of(folder, *(manifest(f"{number:06d}-20250302T060000Z") for number in range(1, 9)))
    assert len(held) == 8 and most <= 2, "each once: the one that is looked at, and the one before it"


def test_before_the_first_run_it_says_so(folder: Path) -> None:
    assert "No run yet" in index_of(folder)


def test_a_running_run_stands_first_without_what_it_does_not_have_yet(folder: Path) -> None:
    text = index_of(folder, manifest("000001-20250302T060000Z"), manifest("000002-20250302T060000Z"))
    assert text.count(">RUNNING<") == 3, "each run's line, and the newest in the sentence above"
    assert text.index("000002-") < text.index("000001-")
    assert "href" not in text.split("<tbody>")[1].split("</tbody>")[0], "no page to lead to"


@pytest.mark.parametrize(
    "damaged",
    [None, "", "{", "[]", "null", "7", '{"run_id": 7}', json.dumps(manifest("x", counts=[1])),
     json.dumps(manifest("x", ended="yesterday")),
     json.dumps(manifest("x", window=None, load={"covering_lookback_hours": 1}))],
    ids=["no manifest", "empty", "torn", "a list", "null", "a number", "no sections", "counts", "time", "window"],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_a_line_that_says_so(folder: Path, damaged: str | None) -> None:
    text = index_of(folder, manifest("000001-20250302T060000Z"), damaged)
    assert ">UNREADABLE<" in text and "000002-20250302T060000Z" in text
    assert ">RUNNING<" in text, "the other is told as ever"


def test_a_damaged_journal_of_decisions_does_not_keep_the_index_away(folder: Path) -> None:
    (folder / "runs" / "decisions.jsonl").write_text('{"decision": "sign"}\n[]\n{torn\n')
    assert ">RUNNING<" in index_of(folder, manifest("000001-20250302T060000Z"))


def test_markup_in_a_record_is_text(folder: Path) -> None:
    gate = {"decision": "PASSED WITH WARNINGS", "summary": f"PASSED: {HOSTILE}"}
    batch = {"kind": HOSTILE}
    text = index_of(folder, manifest("000001-20250302T060000Z", source=HOSTILE, gate=gate, batch=batch))
    assert "<img" not in text and "&lt;img src=x onerror=alert(1)&gt;" in text


def test_what_came_of_a_run_is_told(folder: Path) -> None:
    ended = manifest(
        "000001-20250302T060000Z",
        outcome="loaded",
        ended="2025-03-02T06:02:30+00:00",
        batch={"kind": "new"},
        counts={"rows_read": 3787, "staged": 3302, "refused": 84, "outside_missed": 2},
        gate={"decision": "PASSED WITH WARNINGS", "summary": "PASSED WITH WARNINGS: missed_rows 2 (limit ≤ 0, batch)."},
        load={"watermark_after": "2025-03-01T12:00:00.5+00:00", "covering_lookback_hours": 73},
    )
    text = index_of(folder, ended)
    cells = ("PASSED WITH WARNINGS", "loaded", "3,787", "3,302", "84", "missed_rows 2 (limit ≤ 0, batch).",
             "2025-03-01T12:00:00", "2.5 min")  # fmt: skip
    assert [each for each in cells if f">{each}<" not in text] == []
    assert "2.22\N{NO-BREAK SPACE}%" in text and "73\N{NO-BREAK SPACE}h in the newest" in text


def test_a_repaired_run_has_no_duration(folder: Path) -> None:
    """It was closed by a later run, maybe days after it died."""
    died = manifest("000001-20250302T060000Z", outcome="killed", ended="2025-03-09T06:00:00+00:00", recovered=True)
    text = index_of(folder, died)
    assert "killed, recovered" in text and "Duration: no value yet" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to any group")
def test_the_index_is_as_open_as_its_folder(folder: Path) -> None:
    runs, group = folder / "runs", grp.getgrnam("games").gr_gid
    index_of(folder)
    assert (runs / "index.html").stat().st_mode & 0o777 == 0o600
    os.chown(runs, -1, group)
    runs.chmod(0o750)
    index_of(folder)
    found = (runs / "index.html").stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o640, group)
