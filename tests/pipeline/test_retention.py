"""history --older-than: which records may be moved away; what was moved is verified with the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lib.errors import UsageError
from lib.retention import before_age, old_records
from tests.pipeline.clinic import Clinic
from tests.pipeline.kept import keep_history, layout_of, make_small, told

LATE = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """Three closed records."""
    make_small(monkeypatch)
    clinic = Clinic(tmp_path)
    keep_history(clinic, 3)
    return clinic


@pytest.mark.parametrize(
    ("age", "today", "then"),
    [
        ("6y", "2026-11-23", "2020-11-23"),
        ("1y", "2024-02-29", "2023-02-28"),
        ("18mo", "2026-11-23", "2025-05-23"),
        ("11mo", "2026-12-31", "2026-01-31"),
        ("13mo", "2026-03-31", "2025-02-28"),
        ("90d", "2026-03-31", "2025-12-31"),
    ],
)
def test_an_age_is_counted_by_the_calendar(age: str, today: str, then: str) -> None:
    assert before_age(age, datetime.fromisoformat(today)) == datetime.fromisoformat(then)


@pytest.mark.parametrize("age", ["6", "6m", "0y", "-1y", "1.5y", "y", "6y ", "9999y", "9999mo"])
def test_what_is_no_age(age: str) -> None:
    with pytest.raises(UsageError, match="--older-than"):
        before_age(age, datetime(200, 1, 1))


def test_the_newest_record_stays_and_nothing_is_moved(kept: Clinic) -> None:
    layout = layout_of(kept)
    assert [each.run_id for each in old_records(layout, LATE)] == layout.run_ids()[:2]
    assert all(each.snapshots_needed == 1 and each.bytes > 1000 for each in old_records(layout, LATE))
    ended = kept.command("history", "--older-than", "6y")
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.startswith("no record ended before 20")
    assert kept.command("history", "--older-than", "6m").returncode == 2
    assert told(kept.data_dir) == [] and len(layout.run_ids()) == 3


def test_only_what_leaves_a_chain_is_listed(kept: Clinic) -> None:
    """Up to the first record that is younger, or has not ended."""
    layout = layout_of(kept)
    manifest = layout.record(layout.run_ids()[0]) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"ended"', b'"endet"'))
    assert list(old_records(layout, LATE)) == []


def test_the_command_verifies_what_was_moved_to_an_archive(kept: Clinic) -> None:
    archive = kept.folder / "archive"
    archive.mkdir()
    for each in list(old_records(layout_of(kept), LATE)):
        (kept.data_dir / "runs" / each.run_id).rename(archive / each.run_id)
    assert kept.command("verify").returncode == 6
    ended = kept.command("verify", "--archive", str(archive), "--rebuild")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert "are what the runs left" in ended.stdout
    refused = kept.command("backup", "copy")
    assert refused.returncode == 6 and "name it with --archive; nothing was backed up" in refused.stderr
    ended = kept.command("backup", "copy", "--archive", str(archive))
    assert ended.returncode == 0 and "3 run records" in ended.stdout, ended.stderr
    assert told(kept.folder / "copy") == []
