"""What people decide: in the journal with who, when and why, seen by verify when it is changed, in force again after a
lost warehouse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lib import confidential, validate
from lib.decisions import (
    discard_delivery,
    note_look,
    reinstate_delivery,
    sign_offs,
    sign_run,
)
from lib.errors import UsageError
from lib.files import read_json, write_json
from lib.journal import journal_head, read_entries
from lib.layout import Layout
from lib.quarantine import waive_entries
from lib.record import close_record
from lib.standalone import Record, check_journal, read_records
from tests.pipeline.clinic import Clinic, RunResult, row
from tests.pipeline.plain_gate import plain_gate

CANARY = "canary"
DAY_1, DAY_2, DAY_3, DAY_4 = (f"2025-03-0{day}T00:00:00Z" for day in (2, 3, 4, 5))
SOON = (datetime.now(UTC).date() + timedelta(days=2)).isoformat()
"""Still to come when the tests go on past midnight."""
WITHOUT_ALL = ("decision", "source", "time", "actor", "scope", "reason", "previous_sha256", "sha256")


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def layout(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def journal(clinic: Clinic) -> Path:
    return layout(clinic).decisions


def on(day: int, visit_id: str, **cells: str) -> dict[str, str]:
    return row(visit_id, last_updated=f"2025-03-0{day}T12:00:00Z", **cells)


def half_bad(day: int, *visits: str) -> list[dict[str, str]]:
    """As many good rows as rows without a patient, bearing canaries: held."""
    return [*(on(day, each) for each in visits), *(on(day, f"{CANARY}{each}", patient_id="") for each in visits)]


def closed(result: RunResult) -> str:
    """The run's id, its record closed as the outer process does."""
    assert result.run is not None
    close_record(result.run.layout, result.run.run_id, "loaded", exit_code=0)
    return result.run.run_id


def found(clinic: Clinic) -> list[str]:
    changed = check_journal(journal(clinic).read_bytes() if journal(clinic).exists() else b"", records(clinic))
    return [f"{each.where}: {each.what}" for each in changed]


def records(clinic: Clinic) -> list[Record]:
    return read_records(clinic.data_dir)


@pytest.fixture
def decided(quick: Clinic) -> Clinic:
    """A clinic where every kind of decision was made: accept, discard, reinstate, waive, reveal, trace, sign."""
    quick.deliver(half_bad(1, "A", "B", "C"))
    assert quick.run(DAY_1).exit_code == 4
    run_id = closed(quick.run(DAY_1, accept=("missing_required_share", "refused_share")))
    quick.deliver(half_bad(2, "D", "E", "F"))
    assert quick.run(DAY_2).exit_code == 4
    discard_delivery(layout(quick), "clinic", 2, "a test file")
    reinstate_delivery(layout(quick), "clinic", 2, "not a test after all")
    discard_delivery(layout(quick), "clinic", 2, "a test indeed")
    waive_entries(layout(quick), "clinic", ["1:5"], "agreed with the ward", SOON)
    note_look(layout(quick), "reveal", source="clinic", scope="quarantine 1:5")
    note_look(layout(quick), "trace", source="clinic", scope="one visit")
    sign_run(layout(quick), run_id, "reviewed", "looks right")
    return quick


# The journal


def test_every_decision_is_bound_to_the_one_before_and_tells_no_id(decided: Clinic) -> None:
    entries = read_entries(journal(decided))
    assert [each["decision"] for each in entries] == [
        "accept", "discard", "reinstate", "discard", "waive", "reveal", "trace", "sign",
    ]  # fmt: skip
    assert all(name in each for each in entries for name in WITHOUT_ALL)
    assert CANARY not in journal(decided).read_text() and found(decided) == []
    assert entries[0]["rules"] == {"missing_required_share": 0.5, "refused_share": 0.5}


def test_each_change_of_the_journal_is_found(decided: Clinic) -> None:
    whole = journal(decided).read_bytes()
    lines = whole.splitlines(keepends=True)
    journal(decided).write_bytes(whole.replace(b"a test file", b"a good file"))
    assert found(decided)[0] == "runs/decisions.jsonl line 2 (discard): was edited"
    journal(decided).write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert found(decided)[0].startswith("runs/decisions.jsonl line 4 (waive): does not follow the entry before it")
    journal(decided).write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert len(found(decided)) >= 2
    journal(decided).write_bytes(whole)
    assert found(decided) == []


def test_a_tail_that_was_cut_off_is_missed_by_the_records(decided: Clinic) -> None:
    """Each run's manifest keeps how far the journal reached when it ended."""
    decided.deliver([on(3, "G")])
    result = decided.run(DAY_3)
    assert result.exit_code == 0
    run_id = closed(result)
    head = journal_head(journal(decided))
    manifest = read_json(layout(decided).record(run_id) / "manifest.json")
    assert manifest["decisions"] == {"entries": 8, "head_sha256": head.sha256} and head.entries == 8
    note_look(layout(decided), "trace", source="clinic", scope="one visit")
    assert found(decided) == []
    lines = journal(decided).read_bytes().splitlines(keepends=True)
    journal(decided).write_bytes(b"".join(lines[:7]))
    assert found(decided) == [
        f"runs/decisions.jsonl: its first 8 entries are not those that run {run_id} found; some are gone"
    ]
    journal(decided).unlink()
    assert found(decided)[0].startswith("runs/decisions.jsonl: its first")


def test_the_command_names_what_was_changed(decided: Clinic) -> None:
    journal(decided).write_bytes(journal(decided).read_bytes().replace(b"a test file", b"a good file"))
    ended = decided.command("verify")
    assert ended.returncode == 6 and "runs/decisions.jsonl line 2 (discard): was edited" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr and ended.stderr.count("\n") == 1


# Signing


def test_a_sign_off_is_for_the_record_as_it_was(decided: Clinic) -> None:
    (signed,) = sign_offs(layout(decided))
    assert signed.text.startswith("reviewed by ")
    manifest = layout(decided).record(signed.run_id) / "manifest.json"
    write_json(manifest, {**read_json(manifest), "message": "better so"})
    (said,) = found(decided)
    assert said.startswith(f"runs/{signed.run_id}/manifest.json: is not the one that ") and "signed as reviewed" in said
    manifest.unlink()
    assert len(found(decided)) == 1


def test_history_tells_who_signed(decided: Clinic) -> None:
    (signed,) = sign_offs(layout(decided))
    ended = decided.command("sign", signed.run_id, "--meaning", "approved", "--note", "fine")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"run {signed.run_id} (loaded) is approved by " in ended.stdout
    history = " ".join(decided.command("history").stdout.split())
    assert "reviewed by" in history and "approved by" in history
    assert [each.meaning for each in sign_offs(layout(decided))] == ["reviewed", "approved"]
    for page in (layout(decided).record(signed.run_id) / "report.html", layout(decided).runs / "index.html"):
        assert "approved by " in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["000009-20250101T000000Z", "--meaning", "approved", "--note", "x"], "there is no such run"),
        (["../runs", "--meaning", "approved", "--note", "x"], "there is no such run"),
        (["RUNNING", "--meaning", "reviewed", "--note", "x"], "has not ended"),
        (["RUNNING", "--meaning", "liked", "--note", "x"], "liked"),
        (["RUNNING", "--meaning", "reviewed"], "--note"),
    ],
)
def test_what_cannot_be_signed(words: list[str], said: str, quick: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.deliver([on(1, "A")])
    result = quick.run(DAY_1)
    assert result.run is not None
    manifest = result.run.record / "manifest.json"
    write_json(manifest, {**read_json(manifest), "ended": None})
    ended = quick.command("sign", *[result.run.run_id if each == "RUNNING" else each for each in words])
    assert (ended.returncode, ended.stdout) == (2, "") and said in ended.stderr and "Traceback" not in ended.stderr
    assert not journal(quick).exists()


# Looking


def test_trace_is_noted_before_it_shows_anything(quick: Clinic) -> None:
    quick.deliver([on(1, CANARY)])
    assert quick.run(DAY_1).exit_code == 0
    assert quick.command("trace", CANARY).returncode == 0
    (entry,) = read_entries(journal(quick))
    assert (entry["decision"], entry["scope"], entry["source"]) == ("trace", "one visit", "clinic")
    assert CANARY not in journal(quick).read_text()
    journal(quick).unlink()
    journal(quick).mkdir()
    ended = quick.command("trace", CANARY)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "identifiers are shown only where that is noted" in ended.stderr


@pytest.mark.parametrize("frame", ["visits", "rejected", "facts"])
def test_frames_with_identifiers_are_noted(frame: str, quick: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.deliver([on(1, CANARY), on(1, "B", visit_cost="?")])
    result = quick.run(DAY_1)
    assert result.exit_code == 0
    look: Callable[..., Any] = getattr(result.run, frame)
    look()
    with pytest.raises(UsageError, match="only in the JupyterLab of make lab"):
        look(reveal=True)
    assert not journal(quick).exists(), "a masked frame, or none, is no look"
    monkeypatch.setattr(confidential, "is_interactive", lambda: True)
    look(reveal=True)
    (entry,) = read_entries(journal(quick))
    assert entry["decision"] == "reveal" and result.run is not None and result.run.run_id in entry["scope"]
    assert CANARY not in str(entry)
    journal(quick).unlink()
    journal(quick).mkdir()
    with pytest.raises(UsageError, match="identifiers are shown only where that is noted"):
        look(reveal=True)


# What was decided stays decided


def published(clinic: Clinic) -> tuple[Any, ...]:
    quarantine = clinic.query("SELECT identity, status, waived_by, waived_why, waived_until FROM quarantine ORDER BY 1")
    return clinic.facts(), clinic.daily(), clinic.statuses(), quarantine


def test_a_lost_warehouse_is_as_it_was_decided(decided: Clinic) -> None:
    """Accepted, discarded, waived: the refresh asks for none of it again."""
    before = published(decided)
    assert before[2] == ["loaded", "discarded"]
    decided.warehouse.unlink()
    result = decided.run(DAY_3, full_refresh=True)
    assert result.exit_code == 0 and result.message.startswith("PASSED BY OVERRIDE")
    assert published(decided) == before


def test_what_was_accepted_of_one_delivery_lets_no_other_pass(decided: Clinic) -> None:
    """A new delivery, no worse than the accepted one, waits for the next run, and is judged by itself there."""
    before = published(decided)
    decided.deliver(half_bad(3, "G", "H", "I", "J"))
    decided.warehouse.unlink()
    assert decided.run(DAY_3, full_refresh=True).exit_code == 0
    assert decided.statuses() == ["loaded", "discarded", "pending"] and decided.facts() == before[0]
    assert decided.run(DAY_3).exit_code == 4
    assert decided.statuses() == ["loaded", "discarded", "held"] and decided.facts() == before[0]


def test_an_acceptance_whose_run_did_not_load_counts_for_nothing(quick: Clinic) -> None:
    quick.deliver(half_bad(1, "A", "B", "C"))
    assert quick.run(DAY_1).exit_code == 4
    assert quick.run(DAY_1, accept=("refused_share",)).exit_code != 0
    quick.deliver([on(2, "G")])
    assert quick.run(DAY_2).exit_code == 0
    quick.warehouse.unlink()
    assert quick.run(DAY_3, full_refresh=True).exit_code == 0
    assert quick.statuses() == ["held", "loaded"] and set(quick.facts()) == {"G"}
