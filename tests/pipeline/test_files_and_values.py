"""Files and values as clinics really send them: each case through a whole run, judged by what the tables hold then."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lib.manifest import Manifest
from tests.pipeline.clinic import COLUMNS, Clinic, RunResult, csv_text, row

CANARY = "canary"
LENIENT = {"gate": {"min_failing_rows": 1_000_000}}
"""Lets a file of bad rows through the shares, so that what became of each row can be asked."""
HEADER = ",".join(COLUMNS)
Q = '"'
FIRST, SECOND = "2025-03-02T00:00:00Z", "2025-03-03T00:00:00Z"


def line(visit_id: str = "V1", **cells: str) -> str:
    """A row as unquoted text."""
    return ",".join(row(visit_id, **cells).values())


def lines_of(clinic: Clinic) -> dict[str, int]:
    """visit_id → the physical line that its fact came from."""
    return {visit: fact[-1] for visit, fact in clinic.facts().items()}


def quarantine(clinic: Clinic) -> dict[int, tuple[str, str]]:
    """Physical line → (reasons, the row's text as it was: its cells joined by a bar, or the physical text)."""
    cells = " || '|' || ".join(f"coalesce({name}, '')" for name in COLUMNS)
    found = clinic.query(
        f"SELECT r.source_line, q.reasons, coalesce(q.malformed, {cells})"
        " FROM quarantine_rows AS r JOIN quarantine AS q USING (identity) ORDER BY 1"
    )
    return {at: (reasons, text) for at, reasons, text in found}


def balanced(result: RunResult) -> RunResult:
    """The result, after seeing that every record read went somewhere."""
    went = ("outside_held", "outside_missed", "outside_invalid", "refused", "superseded", "staged")
    assert result.counts["rows_read"] == sum(result.counts[each] for each in went)
    return result


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clinic that has loaded one good file; copied for each test."""
    clinic = Clinic(tmp_path_factory.mktemp("begun"))
    clinic.deliver([row("V0")])
    assert clinic.run(FIRST).exit_code == 0
    return clinic.folder


@pytest.fixture
def loaded(begun: Path, tmp_path: Path) -> Clinic:
    """A clinic with one loaded delivery, and nothing in its inbox."""
    shutil.copytree(begun, tmp_path / "loaded")
    clinic = Clinic(tmp_path / "loaded")
    clinic.input.unlink()
    return clinic


# Good files

GOOD = {
    "UTF-8 BOM": (f"\ufeff{HEADER}\n{line('A')}\n{line('B')}\n", {"A": 2, "B": 3}),
    "CRLF": (f"{HEADER}\r\n{line('A')}\r\n{line('B')}\r\n", {"A": 2, "B": 3}),
    "CR": (f"{HEADER}\r{line('A')}\r{line('B')}\r", {"A": 2, "B": 3}),
    "mixed line ends": (f"{HEADER}\r\n{line('A')}\r{line('B')}\n{line('C')}", {"A": 2, "B": 3, "C": 4}),
    "no final newline": (f"{HEADER}\n{line('A')}\n{line('B')}", {"A": 2, "B": 3}),
    "blank lines": (f"\n{HEADER}\n\n{line('A')}\n\r\n\n{line('B')}\n\n", {"A": 4, "B": 7}),
    "quoted comma": (f'{HEADER}\n{line(f"{Q}A,1{Q}")}\n{line("B")}\n', {"A,1": 2, "B": 3}),
    "quoted quote": (f"{HEADER}\n{line(Q + 'A' + Q + Q + '1' + Q)}\n", {'A"1': 2}),
    "quoted newline in a column that is not read": (
        f'note,{HEADER}\n"one\ntwo\r\nthree",{line("A")}\n"",{line("B")}\n', {"A": 2, "B": 5}),
    "header in another case, with spaces": (
        f" VISIT_ID ,Patient_Id,\tprovider_id,{','.join(COLUMNS[3:]).upper()}\n{line('A')}\n", {"A": 2}),
    "columns in another order": (csv_text([row("A")], COLUMNS[::-1]), {"A": 2}),
    "rows that begin with #": (f"{HEADER}\n{line('#A')}\n#{line('B')}\n", {"#A": 2, "#B": 3}),
    "gzip by its magic bytes": (gzip.compress(f"{HEADER}\n{line('A')}\n".encode()), {"A": 2}),
    "gzip of two members": (gzip.compress(f"{HEADER}\n".encode()) + gzip.compress(line("A").encode()), {"A": 2}),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_loaded_as_it_is(case: str, clinic: Clinic) -> None:
    content, expected = GOOD[case]
    clinic.deliver(content)
    result = balanced(clinic.run())
    assert (result.exit_code, result.counts["staged"], result.counts["refused"]) == (0, len(expected), 0)
    assert lines_of(clinic) == expected
    assert set(clinic.facts().values()) == {
        ("P1", "2025-03-01", 10000, "2025-03-01T12:00:00.000000+00:00", 1, at) for at in expected.values()
    }
    assert clinic.daily() == {"2025-03-01": (len(expected), 1, 10000 * len(expected), 10000, 0)}
    (snapshot,) = (clinic.data_dir / "raw" / "clinic").glob("0*")
    assert snapshot.suffix == (".gz" if "gzip" in case else ".csv")
    assert snapshot.read_bytes() == clinic.input.read_bytes()


def test_a_plain_file_may_be_called_gz(clinic: Clinic) -> None:
    assert clinic.run(source=clinic.deliver([row("A")], "visits.csv.gz")).exit_code == 0
    assert lines_of(clinic) == {"A": 2}


@pytest.mark.parametrize(
    ("case", "source", "encoding", "separator"),
    [
        ("latin-1 configured", {"encoding": "latin-1"}, "latin-1", ","),
        ("utf-16 configured", {"encoding": "utf-16"}, "utf-16", ","),
        ("semicolon configured", {"delimiter": ";"}, "utf-8", ";"),
        ("tab configured", {"delimiter": "\t"}, "utf-8", "\t"),
    ],
)
def test_as_configured(case: str, source: dict[str, str], encoding: str, separator: str, clinic: Clinic) -> None:
    clinic.config = {"source": source}
    clinic.deliver(csv_text([row("Größe")]).replace(",", separator).encode(encoding))
    assert clinic.run().exit_code == 0
    assert lines_of(clinic) == {"Größe": 2}


def test_ids_are_verbatim_after_trimming(clinic: Clinic) -> None:
    ids = ["NA", "null", "00123", "123", "12345678901234567890123", "nan", "1e3", "TRUE", "é" * 128]
    clinic.deliver([*(row(each, patient_id=each) for each in ids), row(" \tX 1 \t", patient_id=" P 1 ")])
    assert clinic.run().exit_code == 0
    facts = clinic.facts()
    assert set(facts) == {*ids, "X 1"}
    assert all(facts[each][0] == each for each in ids) and facts["X 1"][0] == "P 1"


def test_formulas_sql_and_markup_are_texts(clinic: Clinic) -> None:
    texts = [
        "=cmd|' /C calc'!A0",
        "'; DROP TABLE fact_visits; --",
        "<script>alert(1)</script>",
        "${jndi:x}",
        "%s%n",
        "$$",
    ]
    clinic.deliver([row(each, provider_id=each, diagnosis_code=each) for each in texts])
    assert clinic.run().exit_code == 0
    stored = clinic.query("SELECT visit_id, provider_id, diagnosis_code FROM fact_visits")
    assert sorted(stored) == sorted((each, each, each) for each in texts)


def test_blank_optional_values_are_null(clinic: Clinic) -> None:
    clinic.deliver([row("A", provider_id="", diagnosis_code=" \t", visit_cost=" "), row("B")])
    assert clinic.run().exit_code == 0
    assert clinic.query("SELECT provider_id, diagnosis_code, visit_cost FROM fact_visits WHERE visit_id = 'A'") == [
        (None, None, None)
    ]
    assert clinic.daily() == {"2025-03-01": (2, 1, 10000, 10000, 1)}


# Rows refused one by one, the rest loaded

VALUES: dict[str, tuple[str, str, list[str]]] = {
    "numbers that are no plain decimal": (
        "visit_cost", "invalid_visit_cost",
        ["1,234.56", "$12", "12,50", "0x1F", "1_000", "１２", "NaN", "inf", "-inf", "1e309", "1e3", ".5", "5.", "+5",
         "--5", "5 0", "1.2.3", "12 EUR", "null"]),
    "costs out of range": ("visit_cost", "visit_cost_out_of_range", ["-1", "-0.001", "10000000.001", "9" * 40]),
    "dates in a format that is not declared": (
        "visit_date", "invalid_visit_date",
        ["31/12/2024", "01/02/2025", "01/02/25", "45000", "1735689600000", "20241231", "2025-W01-1", "2025-1-1",
         "epoch"]),
    "dates that are not real": (
        "visit_date", "invalid_visit_date",
        ["2025-02-30", "2025-02-29", "0000-00-00", "0000-01-01", "24:00", "2025-01-01T24:00", "2025-01-01T12:00:60",
         "now", "today", "infinity", "2025-01-01T12", "２０２５-01-01", "2025-01-01Z", "10000-01-01"]),
    "dates out of range": (
        "visit_date", "visit_date_out_of_range",
        ["0001-01-01", "1753-01-01", "9999-12-31", "1899-12-31", "2025-03-04"]),
    "stamps in a format that is not declared": (
        "last_updated", "invalid_last_updated",
        ["31/12/2024 12:00", "3/1/2025", "45000.5", "1735689600000", "20241231T120000Z", "2025-W01-1", "epoch", "now",
         "2025-02-30T12:00:00Z", "2025-03-01T24:00:00Z", "2025-03-01T12:00:60Z", "2025-03-01T12:00:00 UTC",
         "2025-03-01T12:00:00+24:00", "2025-03-01T12:00:00+01", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00"]),
    "stamps in the future": (
        "last_updated", "future_last_updated", ["2025-03-02T00:05:00.000001Z", "2025-03-03", "9999-12-31T23:59:59Z"]),
    "NUL, control, zero-width and bidi characters in an id": (
        "visit_id", "invalid_visit_id",
        ["X\0Y", "X\x07", "X\x1b[31m", "X\x85", "X\u00ad", "X\u200b", "X\u200e", "X\u202e", "X\u2066", "\ufeffX",
         "X\nY", "X\r\nY", "\x7f", "é" * 129]),
    "the same in a patient": ("patient_id", "invalid_patient_id", ["P\0", "P\u200d", "P\u2028Q", "P\tQ"]),
    "the same in a provider": ("provider_id", "invalid_provider_id", ["D\0", "D\nE", "D" * 129]),
    "the same in a diagnosis": ("diagnosis_code", "invalid_diagnosis_code", ["\u202eJ", "J\x0b"]),
    "blank visits": ("visit_id", "missing_visit_id", ["", " ", "\t \t"]),
    "blank patients": ("patient_id", "missing_patient_id", ["", "  "]),
    "blank dates": ("visit_date", "missing_visit_date", ["", "\t"]),
    "blank stamps": ("last_updated", "missing_last_updated", ["", " "]),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_value_is_refused_with_its_reason(case: str, clinic: Clinic) -> None:
    """Each row lies in the quarantine in its own text; the good row beside them is loaded."""
    column, reason, texts = VALUES[case]
    clinic.config = LENIENT
    rows = [row(f"V{number}") | {column: text} for number, text in enumerate(texts)]
    clinic.deliver([*rows, row("GOOD")])
    result = balanced(clinic.run())
    assert result.exit_code == 0
    assert (result.counts["rows_read"], result.counts["refused"], result.counts["staged"]) == (
        len(rows) + 1,
        len(rows),
        1,
    )
    assert result.reasons == {reason: len(rows)}
    assert set(clinic.facts()) == {"GOOD"}
    assert list(quarantine(clinic).values()) == [(reason, "|".join(each.values())) for each in rows]
    assert clinic.daily() == {"2025-03-01": (1, 1, 10000, 10000, 0)}


def test_values_at_the_bounds_are_accepted(clinic: Clinic) -> None:
    clinic.deliver(
        [
            row("A", visit_date="1900-01-01", visit_cost="0", last_updated="0001-01-01"),
            row("B", visit_date="2025-03-03", visit_cost="10000000.00", last_updated="2025-03-02T00:05:00Z"),
            row("C", visit_date="2024-02-29T23:59:59.999999999-12:00", visit_cost="-0.00", last_updated="2025-03-01"),
        ]
    )
    assert clinic.run().exit_code == 0
    assert [fact[1:3] for fact in clinic.facts().values()] == [
        ("1900-01-01", 0), ("2025-03-03", 1_000_000_000), ("2024-02-29", 0),
    ]  # fmt: skip


def test_a_row_is_refused_with_all_its_reasons(clinic: Clinic) -> None:
    clinic.deliver([row("", patient_id="\0", visit_date="x", visit_cost="-1", last_updated="2999-01-01"), row("GOOD")])
    assert clinic.run().exit_code == 0
    ((reasons, _),) = quarantine(clinic).values()
    assert reasons == (
        "missing_visit_id invalid_patient_id invalid_visit_date visit_cost_out_of_range future_last_updated"
    )


@pytest.mark.parametrize(
    ("case", "column", "formats", "text"),
    [
        ("month first", "visit_date", ["%m/%d/%Y"], "03/01/2025"),
        ("day first", "visit_date", ["%d/%m/%Y"], "01/03/2025"),
        ("2-digit year", "visit_date", ["%d.%m.%y"], "01.03.25"),
        ("compact", "visit_date", ["iso", "%Y%m%d"], "20250301"),
        ("no zeros", "visit_date", ["%-m/%-d/%Y"], "3/1/2025"),
        ("month by name", "visit_date", ["%d-%b-%Y"], "01-Mar-2025"),
        ("stamp of twelve hours", "last_updated", ["%m/%d/%Y %I:%M %p"], "03/01/2025 12:00 PM"),
        ("stamp of minutes", "last_updated", ["iso", "%d.%m.%Y %H:%M"], "01.03.2025 12:00"),
    ],
)
def test_declared_format(case: str, column: str, formats: list[str], text: str, clinic: Clinic) -> None:
    clinic.config = {"formats": {column: formats}}
    clinic.deliver([row("A", **{column: text})])
    assert clinic.run().exit_code == 0
    assert clinic.facts()["A"][1:4] == ("2025-03-01", 10000, "2025-03-01T12:00:00.000000+00:00")


# Rows that are no rows

LONG = "x" * (1 << 20)
MALFORMED = {
    "short row": (f"{HEADER}\n{line('A')}\nB,{CANARY}\n{line('C')}\n", {3: f"B,{CANARY}"}, {"A": 2, "C": 4}),
    "long row": (f"{HEADER}\n{line('A')}\n{line('B')},\n{line('C')}\n", {3: f"{line('B')},"}, {"A": 2, "C": 4}),
    "text after a closing quote": (
        f"{HEADER}\n{line(f'{Q}A{Q}x')}\n{line('B')}\n", {2: '"A"x' + line()[2:]}, {"B": 3}),
    "short row of two physical lines": (f'{HEADER}\n"A\nB",x\n{line("C")}\n', {2: '"A\nB",x'}, {"C": 4}),
    "a line of spaces": (f"{HEADER}\n   \n{line('A')}\n", {2: "   "}, {"A": 3}),
    "field over 1 MiB": (f"{HEADER}\n{line('A' + LONG)}\n{line('B')}\n", {2: line("A" + LONG)}, {"B": 3}),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_row_is_kept_as_its_physical_text(case: str, clinic: Clinic) -> None:
    content, refused, kept = MALFORMED[case]
    clinic.deliver(content)
    result = balanced(clinic.run())
    assert (result.exit_code, result.reasons) == (0, {"malformed_row": len(refused)})
    assert quarantine(clinic) == {at: ("malformed_row", text) for at, text in refused.items()}
    assert lines_of(clinic) == kept


def test_newline_inside_an_id(clinic: Clinic) -> None:
    clinic.deliver(f"{HEADER}\n{Q}A\nB{Q}{line('')}\n{line('C')}\n")
    assert clinic.run().exit_code == 0
    assert {at: reasons for at, (reasons, _) in quarantine(clinic).items()} == {2: "invalid_visit_id"}
    assert lines_of(clinic) == {"C": 4}


def test_header_repeated_inside_the_data(clinic: Clinic) -> None:
    clinic.deliver(f"{HEADER}\n{line('A')}\n{HEADER}\n{line('B')}\n")
    assert clinic.run().exit_code == 0
    reasons = "invalid_visit_date invalid_visit_cost invalid_last_updated"
    assert quarantine(clinic) == {3: (reasons, "|".join(COLUMNS))}
    assert lines_of(clinic) == {"A": 2, "B": 4}


# Whole deliveries refused

REFUSED: dict[str, tuple[str | bytes, list[str]]] = {
    "UTF-16": (csv_text([row(CANARY)]).encode("utf-16"), ["is not utf-8 text: byte 0 "]),
    "latin-1": (csv_text([row("A"), row("é", patient_id=CANARY)]).encode("latin-1"), [
        f"is not utf-8 text: byte {len(csv_text([row('A')]))} "]),
    "invalid UTF-8": (f"{HEADER}\n{CANARY}".encode() + b"\xff\xfe", [
        f"is not utf-8 text: byte {len(HEADER) + 7} "]),
    "unclosed quote to the end of the file": (f'{HEADER}\n{line("A")}\n"{CANARY},P1\n{line("B")}\n', [
        "ends inside a quote", "line 3"]),
    "wrong delimiter": (csv_text([row(CANARY)]).replace(",", ";"), ["a semicolon", "'delimiter'"]),
    "no header": (csv_text([row(CANARY)]).split("\n", 1)[1], [
        "none of the 7 expected columns (visit_id, patient_id"]),
    "missing column": (csv_text([row(CANARY)]).replace("visit_date", "DATE"), [
        "1 required column is missing (visit_date)", "found DATE", "'columns'"]),
    "missing optional column": (csv_text([row(CANARY)]).replace("visit_cost", "COST"), [
        "1 expected column is missing (visit_cost)", "'columns'"]),
    "duplicated column": (f"{HEADER},visit_id\n{line(CANARY)},X\n", ["repeats visit_id"]),
    "ambiguous column": (f"{HEADER},VISIT_ID\n{line(CANARY)},X\n", ["visit_id is ambiguous"]),
    "only blank lines": ("\n\r\n\n", ["has no header"]),
    "truncated gzip": (gzip.compress(csv_text([row(CANARY)]).encode())[:-9], ["the gzip is cut short"]),
    "gzip with trailing garbage": (gzip.compress(csv_text([row(CANARY)]).encode()) + b"garbage", [
        "the gzip is damaged"]),
    "gzip of nothing": (gzip.compress(b""), ["is empty (0 bytes of text)"]),
}  # fmt: skip


def state_of(clinic: Clinic) -> tuple[Any, ...]:
    return clinic.tables(), (clinic.data_dir / "state" / "state.json").read_text()


def check_refused(result: RunResult, said: list[str], name: str = "visits.csv") -> None:
    assert result.exit_code == 3
    assert result.message.startswith(f"{name}: ") and result.message.isprintable(), "one line"
    assert all(each in result.message for each in said), result.message
    assert CANARY not in result.message


@pytest.mark.parametrize("case", REFUSED)
def test_delivery_is_refused_whole(case: str, loaded: Clinic) -> None:
    content, said = REFUSED[case]
    before = state_of(loaded)
    loaded.deliver(content)
    result = loaded.run(SECOND)
    check_refused(result, said)
    assert state_of(loaded) == before
    assert loaded.statuses() == ["loaded", "refused"]
    assert result.run is not None
    manifest = Manifest.read(result.run.record)
    assert manifest["outcome"] == "refused" and manifest["marks"] == [{"sequence": 2, "status": "refused"}]
    assert CANARY not in str(manifest.content)
    loaded.deliver([row("B", last_updated="2025-03-02T12:00:00Z")])
    assert loaded.run(SECOND).exit_code == 0, "the next good delivery is not blocked"
    assert set(loaded.facts()) == {"V0", "B"}


def not_there(path: Path) -> None:
    pass


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def broken_link(path: Path) -> None:
    path.symlink_to(path.with_name(CANARY))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (not_there, ["does not exist", "source.path"]),
        (empty, ["is empty (0 bytes)"]),
        (fifo, ["is not a regular file"]),
        (device, ["is not a regular file"]),
        (broken_link, ["is a broken link"]),
    ],
)
@pytest.mark.timeout(60)
def test_what_is_no_file_is_not_even_taken(make: Any, said: list[str], loaded: Clinic) -> None:
    before = state_of(loaded)
    make(loaded.input)
    check_refused(loaded.run(SECOND), said)
    assert state_of(loaded) == before
    assert loaded.statuses() == ["loaded"]
    assert len(list((loaded.data_dir / "raw" / "clinic").iterdir())) == 2, "one snapshot and the ledger, nothing else"


def test_directory_given_as_file(clinic: Clinic) -> None:
    clinic.deliver([row("V0")])
    assert clinic.run(FIRST).exit_code == 0
    clinic.input.unlink()
    clinic.input.mkdir()
    check_refused(clinic.run(SECOND), ["is a folder now"])
    assert clinic.statuses() == ["loaded"]


def test_unreadable_file(loaded: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded.deliver([row("A")])
    really_open = os.open

    def refuse(path: Any, *words: Any, **more: Any) -> int:
        if path == loaded.input:
            raise PermissionError(13, "Permission denied")
        return really_open(path, *words, **more)

    monkeypatch.setattr(os, "open", refuse)
    check_refused(loaded.run(SECOND), ["cannot be read (Permission denied)"])
    assert loaded.statuses() == ["loaded"]


def test_link_to_a_good_file(clinic: Clinic) -> None:
    clinic.input.symlink_to(clinic.deliver([row("A")], "elsewhere.csv"))
    assert clinic.run().exit_code == 0
    assert set(clinic.facts()) == {"A"}


# Whole deliveries held or loaded with a warning


def test_header_only_is_a_zero_row_load(loaded: Clinic) -> None:
    before = state_of(loaded)
    loaded.deliver(f"{HEADER}\n")
    result = loaded.run(SECOND)
    assert (result.exit_code, result.failed_rules) == (4, {"zero_row_load"})
    assert result.message.count("\n") == 0 and "1 delivery is held" in result.message
    assert (state_of(loaded), loaded.statuses()) == (before, ["loaded", "held"])


def test_extra_column_is_drift_once(loaded: Clinic) -> None:
    """Reported when it differs from the last accepted header; its values stay in raw."""
    with_ward = f"ward,{HEADER}\n{CANARY},{line('A', last_updated='2025-03-02T12:00:00Z')}\n"
    loaded.deliver(with_ward)
    result = loaded.run(SECOND)
    assert result.exit_code == 0
    assert result.message.startswith("PASSED WITH WARNINGS: schema_drift 1 ") and "ward" not in result.message
    assert result.counts["unexpected_columns"] == 1
    assert set(loaded.facts()) == {"V0", "A"}
    assert CANARY not in str(loaded.tables())
    loaded.deliver(with_ward.replace("A,", "B,"))
    assert "schema_drift" not in loaded.run(SECOND).message
    loaded.deliver([row("C", last_updated="2025-03-02T12:00:00Z")])
    gone = loaded.run(SECOND)
    assert "schema_drift 1 " in gone.message and gone.counts["absent_columns"] == 1


# The real command


def make_good(path: Path) -> None:
    path.write_text(csv_text([row(CANARY)]))


def make_wrong_header(path: Path) -> None:
    path.write_text(f"{HEADER.replace('visit_id', 'Id')}\n{line(CANARY)}\n")


def make_truncated(path: Path) -> None:
    path.write_bytes(gzip.compress(csv_text([row(CANARY)]).encode())[:-9])


def make_header_only(path: Path) -> None:
    path.write_text(f"{HEADER}\n")


@pytest.mark.parametrize(
    ("make", "exit_code", "said"),
    [
        (make_good, 0, ""),
        (make_wrong_header, 3, "visits.csv: 1 required column is missing (visit_id); found Id."),
        (empty, 3, "visits.csv: is empty (0 bytes)"),
        (fifo, 3, "visits.csv: is not a regular file"),
        (make_truncated, 3, "visits.csv: the gzip is cut short"),
        (make_header_only, 4, "FAILED: zero_row_load 0 "),
    ],
)
def test_the_command_says_it_in_one_line(make: Any, exit_code: int, said: str, clinic: Clinic) -> None:
    make(clinic.input)
    ended = clinic.command("run", "--as-of", FIRST)
    assert (ended.returncode, ended.stderr.count("\n")) == (exit_code, 1 if said else 0), ended.stderr
    assert ended.stderr.startswith(said)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
    assert [each[0] for each in clinic.query("SELECT visit_id FROM fact_visits")] == ([CANARY] if not said else [])


def test_a_row_that_ran_into_the_header_is_in_no_record(tmp_path: Path) -> None:
    """A lost line end makes a patient's cells the names of unknown columns."""
    clinic = Clinic(tmp_path)
    header = ",".join(COLUMNS) + ",note"
    clinic.deliver(f"{header}V900001,P770077,D5,J06.9,2025-03-01,987.65\nV2,P2,,,2025-03-01,1,2025-03-01T12:00:00Z\n")
    result = clinic.run()
    assert result.exit_code == 4
    assert result.run is not None
    told = result.message + "".join(path.read_text() for path in result.run.record.iterdir())
    assert [text for text in ("V900001", "P770077", "987.65") if text in told] == []
