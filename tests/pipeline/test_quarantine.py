"""The quarantine's life: open, superseded, waived for a time, open again; shown without a row's text unless asked."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from lib import quarantine, validate
from lib import run as runs
from lib.errors import UsageError
from lib.journal import read_entries
from lib.layout import Layout
from lib.quarantine import Place, find_entries, waive_entries, waivers_in_force
from lib.warehouse import reading
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.pipeline.plain_gate import plain_gate

CANARY = "canary"
DAY_1, DAY_2, DAY_3 = (f"2025-03-0{day}T00:00:00Z" for day in (2, 3, 4))
NOW = datetime.now(UTC)
SOON = (NOW.date() + timedelta(days=2)).isoformat()
"""Still to come when the tests go on past midnight."""


def layout(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def entries(clinic: Clinic, day: str = "") -> dict[str, tuple[str, int]]:
    """First place → status on the day, refused rows with that text."""
    with reading(layout(clinic)) as connection:
        found = find_entries(connection, "clinic", day or quarantine.today())
    return {str(each.place): (each.status, each.occurrences) for each in found}


def waive(clinic: Clinic, *words: str, until: str = SOON) -> str:
    return waive_entries(layout(clinic), "clinic", words, "agreed with the ward", until)


def fix_clock(monkeypatch: pytest.MonkeyPatch, at: datetime) -> None:
    monkeypatch.setattr(quarantine, "now", lambda: at)
    monkeypatch.setattr(runs, "now", lambda: at)


@pytest.fixture
def refused(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """Two refused rows at 1:3 and 1:4 beside a good one; the first was delivered twice."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    first = row("V2", visit_cost="?", patient_id=CANARY)
    clinic.deliver([row("V1"), first, row("V3", visit_date="?", visit_cost="x")])
    assert clinic.run(DAY_1).exit_code == 0
    clinic.deliver([row("V4", last_updated="2025-03-02T12:00:00Z"), row("V5"), first])
    assert clinic.run(DAY_2).exit_code == 0
    return clinic


# Its life


def test_the_same_text_refused_again_is_one_entry(refused: Clinic) -> None:
    assert entries(refused) == {"1:3": ("open", 2), "1:4": ("open", 1)}
    with reading(layout(refused)) as connection:
        (again,) = find_entries(connection, "clinic", DAY_1, place=Place(2, 4))
    assert (again.place, again.last_delivery) == (Place(1, 3), 2), "named by any of its places"


def test_a_waiver_says_who_why_and_until_when(refused: Clinic) -> None:
    assert waive(refused, "2:4") == f"1:3 is waived until {SOON} by {quarantine.actor()}; open again after it."
    assert entries(refused) == {"1:3": ("waived", 2), "1:4": ("open", 1)}
    with reading(layout(refused)) as connection:
        waived = find_entries(connection, "clinic", quarantine.today())[0]
        assert waivers_in_force(connection, "clinic", quarantine.today()).entries == 1
    assert (waived.waived_by, waived.waived_why, waived.waived_until) == (
        quarantine.actor(), "agreed with the ward", SOON,
    )  # fmt: skip
    (entry,) = read_entries(refused.data_dir / "runs" / "decisions.jsonl")
    assert (entry["decision"], entry["entries"], entry["until"]) == ("waive", ["1:3"], SOON)


def test_a_reason_waives_what_is_open_for_it(refused: Clinic) -> None:
    assert waive(refused, "invalid_visit_cost").startswith("2 entries are waived")
    assert set(entries(refused).values()) == {("waived", 2), ("waived", 1)}
    with pytest.raises(UsageError, match="no row refused for invalid_visit_cost is open"):
        waive(refused, "invalid_visit_cost")


def test_a_waiver_runs_out(refused: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts on its last day; a day later the entry is listed as open, and the next load opens it in the table."""
    waive(refused, "1:3")
    assert entries(refused, SOON)["1:3"][0] == "waived"
    after = NOW + timedelta(days=3)
    assert entries(refused, after.date().isoformat())["1:3"][0] == "open"
    stored = "SELECT status, waived_until FROM quarantine WHERE first_source_line = 3"
    assert refused.query(stored) == [("waived", SOON)]
    fix_clock(monkeypatch, after)
    refused.deliver([row("V6", last_updated="2025-03-02T13:00:00Z")])
    result = refused.run(after.isoformat())
    assert result.exit_code == 0 and result.run is not None and result.run.manifest["waivers"] == 0
    assert refused.query(stored) == [("open", SOON)], "who waived it once is still told"


def test_waivers_in_force_are_in_the_manifest_and_outlive_a_load(refused: Clinic) -> None:
    waive(refused, "1:3", "1:4")
    refused.deliver([row("V6", last_updated="2025-03-02T13:00:00Z")])
    result = refused.run(DAY_3)
    assert result.run is not None and result.run.manifest["waivers"] == 2
    assert [status for status, _ in entries(refused).values()] == ["waived", "waived"]


def test_a_waived_row_that_is_corrected_is_superseded(refused: Clinic) -> None:
    waive(refused, "1:3")
    refused.deliver([row("V2", last_updated="2025-03-02T13:00:00Z")])
    assert refused.run(DAY_3).exit_code == 0
    assert entries(refused)["1:3"][0] == "superseded"
    before = refused.tables()
    with pytest.raises(UsageError, match="1:3 is superseded by 3:2: there is nothing to waive"):
        waive(refused, "1:3", "1:4")
    assert refused.tables() == before and len(read_entries(layout(refused).decisions)) == 1


def test_a_waiver_can_be_renewed(refused: Clinic) -> None:
    waive(refused, "1:3")
    later = (NOW.date() + timedelta(days=9)).isoformat()
    waive(refused, "1:3", until=later)
    assert refused.query("SELECT waived_until FROM quarantine WHERE status = 'waived'") == [(later,)]


@pytest.mark.parametrize(
    ("words", "until", "said"),
    [
        (["1:2"], SOON, "clinic has no quarantined row at 1:2"),
        (["9:9"], SOON, "clinic has no quarantined row at 9:9"),
        (["missing_visit_id"], SOON, "no quarantined row refused for missing_visit_id"),
        (["1:3", "oops"], SOON, "name entries as DELIVERY:LINE"),
        (["1:3"], NOW.date().isoformat(), "--until: must be a day after today"),
        (["1:3"], (NOW.date() + timedelta(days=369)).isoformat(), "--until: must be a day after today"),
        (["1:3"], "2026-02-30", "--until: write a day"),
        (["1:3"], "20261224", "--until: write a day"),
        (["1:3"], "soon", "--until: write a day"),
    ],
)  # fmt: skip
def test_waivers_that_cannot_be(words: list[str], until: str, said: str, refused: Clinic) -> None:
    before = refused.tables()
    with pytest.raises(UsageError, match=said):
        waive(refused, *words, until=until)
    assert refused.tables() == before and not layout(refused).decisions.exists()


def test_a_journal_that_cannot_be_written_leaves_the_tables_as_they_were(
    refused: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = refused.tables()
    layout(refused).decisions.mkdir()
    with pytest.raises(OSError, match="directory"):
        waive(refused, "1:3")
    assert refused.tables() == before


def test_a_decision_without_its_mark_takes_effect_with_the_next_load(
    refused: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between journal and commit: the decision stands."""
    with monkeypatch.context() as broken:
        broken.setattr(quarantine, "_waive", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            waive(refused, "1:3")
    assert entries(refused)["1:3"][0] == "open"
    refused.deliver([row("V6", last_updated="2025-03-02T13:00:00Z")])
    assert refused.run(DAY_3).exit_code == 0
    assert entries(refused)["1:3"][0] == "waived"


def test_a_lost_warehouse_gets_its_waivers_back(refused: Clinic) -> None:
    waive(refused, "2:4")
    waive(refused, "1:4")
    names = "first_delivery_seq, first_source_line, status, waived_by, waived_at, waived_why, waived_until"
    before = refused.query(f"SELECT {names} FROM quarantine ORDER BY 1, 2")
    refused.warehouse.unlink()
    refused.config = {"gate": {"min_failing_rows": 1_000_000}}
    assert refused.run(DAY_3, full_refresh=True).exit_code == 0
    assert refused.query(f"SELECT {names} FROM quarantine ORDER BY 1, 2") == before


def test_a_shortened_waiver_is_not_lengthened_by_an_earlier_one(
    refused: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    waive(refused, "1:3", until=(NOW.date() + timedelta(days=9)).isoformat())
    waive(refused, "2:4", until=SOON)
    after = NOW + timedelta(days=3)
    fix_clock(monkeypatch, after)
    refused.deliver([row("V6", last_updated="2025-03-02T13:00:00Z")])
    assert refused.run(after.isoformat()).exit_code == 0
    assert refused.query("SELECT status FROM quarantine ORDER BY first_source_line") == [("open",), ("open",)]


# The command


def told(clinic: Clinic, *words: str) -> str:
    ended = clinic.command("quarantine", *words)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    assert CANARY not in ended.stdout and "V2" not in ended.stdout
    return ended.stdout


def test_the_words_list_waive_and_show(refused: Clinic) -> None:
    assert told(refused).splitlines()[0] == "clinic: 2 open, 0 waived, 0 superseded"
    told(refused, "waive", "1:3", "--reason", "agreed with the ward", "--until", SOON)
    listed = told(refused, "list")
    assert "clinic: 1 open, 1 waived, 0 superseded" in listed and "invalid_visit_cost" in listed
    assert "oldest open: 1:4 since 2025-03-02T00:00:00+00:00, invalid_visit_date, invalid_visit_cost" in listed
    assert f"1 waived entry, the next until {SOON}" in listed
    shown = told(refused, "show")
    assert "1:3" in shown and "waived" in shown and SOON in shown and "1:4" in shown
    assert "1:3" not in told(refused, "show", "invalid_visit_date")
    status = refused.command("status")
    assert f"clinic: 1 waived entry, the next until {SOON}" in status.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "--reveal"], "--reveal: shows patients' data only on a terminal"),
        (["show", "7:7"], "clinic has no quarantined row at 7:7"),
        (["waive", "1:3", "--reason", "x", "--until", "yesterday"], "--until: write a day like 2026-01-31."),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, refused: Clinic) -> None:
    ended = refused.command("quarantine", *words)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert said in ended.stderr and not layout(refused).decisions.exists()


def on_a_terminal(clinic: Clinic, *words: str) -> tuple[int, str]:
    """The command with a terminal of its own for input and output."""
    config = clinic.folder / "config.yaml"
    config.write_text(yaml.safe_dump({"source": {"path": str(clinic.input)}}))
    ours, theirs = pty.openpty()
    head = [sys.executable, str(ROOT / "run_pipeline.py"), *words, "--config", str(config)]
    process = subprocess.Popen(
        [*head, "--data-dir", str(clinic.data_dir)], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    os.close(ours)
    return process.wait(60), text.decode()


def test_row_text_is_shown_on_a_terminal_and_noted_first(refused: Clinic) -> None:
    refused.deliver([row("V4", last_updated="2025-03-02T12:00:00Z"), row("\x1b[2JV9", patient_id="x")])
    assert refused.run(DAY_3).exit_code == 0
    code, text = on_a_terminal(refused, "quarantine", "show", "--reveal")
    assert code == 0 and CANARY in text
    assert "\x1b[2J" not in text and r"\x1b[2JV9" in text, "nothing that a terminal would act upon"
    (entry,) = read_entries(layout(refused).decisions)
    assert (entry["decision"], entry["scope"]) == ("reveal", "quarantine 1:3, 1:4, 3:3")
    assert CANARY not in str(entry) and "V2" not in str(entry)


def test_row_text_that_cannot_be_noted_is_not_shown(refused: Clinic) -> None:
    layout(refused).decisions.mkdir()
    code, text = on_a_terminal(refused, "quarantine", "show", "--reveal")
    assert code == 2 and "identifiers are shown only where that is noted" in text and CANARY not in text


def test_a_waiver_is_no_difference_to_a_rebuild(refused: Clinic) -> None:
    waive(refused, "1:3")
    ended = refused.command("verify", "--rebuild")
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


def test_15_a_refusal_accepted_late_closes_by_what_was_delivered_since(tmp_path: Path) -> None:
    """Delivery 2 is held; 3 answers it with the values the table has since 1; then 2 is accepted."""
    clinic = Clinic(tmp_path)
    clinic.deliver([row("V4")])
    assert clinic.run().exit_code == 0
    clinic.deliver([row("V4", last_updated="yesterday")])
    assert clinic.run().exit_code == 4
    clinic.deliver([row("V4"), row("V5")])
    assert clinic.run().exit_code == 0
    result = clinic.run(accept=("zero_row_load",))
    assert result.exit_code == 0, result.message
    incremental = clinic.query("SELECT status, superseded_by_seq, superseded_by_line FROM quarantine")
    assert incremental == [("superseded", 3, 2)]
    assert clinic.run(full_refresh=True, accept=()).exit_code == 0
    assert clinic.query("SELECT status, superseded_by_seq, superseded_by_line FROM quarantine") == incremental
