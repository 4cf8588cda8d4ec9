"""Files broken at random, each through the pipeline's stages: refused or held in one line, or every row accounted for.

A second reader, here, says what each file holds: a state machine over its characters, which shares nothing with the
pipeline's. FUZZ_FILES sets how many files are tried and FUZZ_FIRST the number of the first; the number is the seed. A
file that fails is kept, and its number is printed. FUZZ_SEEDS names a folder of further files to break.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lib import validate
from tests.pipeline.broken_files import FIELD_LIMIT, SMALL, Seed, broken_file, further_seeds
from tests.pipeline.clinic import COLUMNS, Clinic, row
from tests.pipeline.plain_gate import plain_gate

FILES = int(os.environ.get("FUZZ_FILES", "100"))
FIRST = int(os.environ.get("FUZZ_FIRST", "1"))
MEMORY = Path("/dev/shm")
"""Where a run's many small synced files cost nothing; elsewhere the usual temporary folder."""
KEPT = Path(tempfile.gettempdir()) / "fuzz-failures"
HANG_SECONDS = 10
BEFORE, AS_OF = "2025-12-05T00:00:00Z", "2025-12-30T00:00:00Z"
CANONICAL = {name: name for name in COLUMNS}
BASE: dict[str, Any] = {"engine": {"threads": 1}, "gate": {"min_failing_rows": 1_000_000}}
"""Lets a file of bad rows through the shares, so that what became of each row can be asked."""


# What it holds, by the second reader


@dataclass(frozen=True)
class Held:
    """What a readable file holds: line → the cells of the mapped columns, or a malformed record's physical text."""

    header: list[str]
    records: dict[int, dict[str, str] | str]


def physical_lines(text: str) -> list[str]:
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)


def parsed(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | None, str]]:
    """Line, fields (None: malformed) and physical text of each record. Raises ValueError at an end inside a quote."""
    start, raw, fields, cell, state = 1, "", list[str](), list[str](), "begin"
    for number, each in enumerate(physical_lines(text), 1):
        body = each.rstrip("\r\n")
        raw += each
        for mark in body:
            if state == "quoted":
                if mark == '"':
                    state = "closed"
                else:
                    cell.append(mark)
            elif mark == delimiter:
                fields.append("".join(cell))
                cell, state = [], "begin"
            elif state == "closed" and mark != '"':
                state = "broken"
                break
            elif mark == '"' and state in ("begin", "closed"):
                if state == "closed":
                    cell.append(mark)
                state = "quoted"
            else:
                cell.append(mark)
                state = "plain"
        if state == "quoted":
            cell.append(each[len(body) :])
            continue
        fields.append("".join(cell))
        wrong = state == "broken" or max(map(len, fields)) > FIELD_LIMIT
        if raw.rstrip("\r\n"):
            yield start, None if wrong else fields, raw.rstrip("\r\n")
        start, raw, fields, cell, state = number + 1, "", [], [], "begin"
    if state == "quoted":
        raise ValueError("ends inside a quote")


def what_it_holds(data: bytes, config: dict[str, Any]) -> Held | None:
    """What the file holds by the source contract; None when it is to be refused as a whole."""
    source = config.get("source", {})
    wanted = {ours: theirs for ours, theirs in config.get("columns", CANONICAL).items() if theirs}
    try:
        text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        decoded = text.decode(source.get("encoding", "utf-8")).removeprefix("\ufeff")
        records = list(parsed(decoded, source.get("delimiter", ",")))
    except (ValueError, EOFError, OSError, zlib.error):
        return None
    if not records:
        return None
    (_, header, raw), *rest = records
    if header is None or "\0" in raw:
        return None
    names = [each.strip(" \t") for each in header]
    keys = [each.casefold() for each in names]
    if any(keys.count(theirs.casefold()) != 1 for theirs in wanted.values()):
        return None
    if len(set(filter(None, names))) < len(list(filter(None, names))):
        return None
    places = {ours: keys.index(theirs.casefold()) for ours, theirs in wanted.items()}
    return Held(
        names,
        {
            line: {ours: fields[at] for ours, at in places.items()} if fields and len(fields) == len(header) else raw
            for line, fields, raw in rest
        },
    )


# The law


def _tells(message: str, cell: str) -> bool:
    """Whether the message holds the cell; letters alone as a whole word, since a broken cell may be a piece of ours."""
    return bool(re.search(rf"\b{cell}\b", message)) if cell.isalpha() else cell in message


def check_message(message: str, data: bytes, config: dict[str, Any]) -> None:
    """One line, without a cell of the file but names of its first row. The gate's own shares are no cells."""
    assert message and message.isprintable(), "one line"
    message = re.sub(r"\d+\.\d\d %", "", message)
    if data[:2] == b"\x1f\x8b":
        unpack = zlib.decompressobj(wbits=31)
        try:
            data = unpack.decompress(data)
        except zlib.error:
            return
    encoding = config.get("source", {}).get("encoding", "utf-8")
    first, *rest = re.split(r"[\r\n]+", data.decode(encoding, "replace").lstrip("\ufeff\r\n"))
    cells = {each.strip(' \t"') for line in (first, *rest) for each in re.split('[,;\t|"]+', line)}
    names = {each.strip(' \t"') for each in re.split('[,;\t|"]+', first)}
    known = {each for each in names if not re.search(r"\d", each)} | {*COLUMNS}
    told = [each for each in cells if len(each) >= 4 and not each.isdigit() and _tells(message, each)]
    assert not [each for each in told if not any(each in name for name in known)], "tells a value"


def check_rows(clinic: Clinic, result: Any, held: Held) -> None:
    """Every record went to one place, with the texts that it has in the file."""
    counts, run = result.counts, result.run
    went = ("outside_held", "outside_missed", "outside_invalid", "refused", "superseded", "staged")
    assert counts["rows_read"] == len(held.records) == sum(counts[each] for each in went)
    ours = max(each["sequence"] for each in run.manifest["batch"]["deliveries"])
    rejected = pq.read_table(run.staging / "rejected.parquet").to_pylist()
    assert len({each["source_line"] for each in rejected}) == len(rejected) == counts["refused"]
    for each in rejected:
        record = held.records[each["source_line"]]
        texts = {name: each[name] for name in COLUMNS if each[name] is not None}
        assert (each["malformed"] if each["malformed"] is not None else texts) == record, "refused in its own text"
    malformed = {line for line, record in held.records.items() if isinstance(record, str)}
    assert malformed == {each["source_line"] for each in rejected if each["malformed"] is not None}
    staged = pq.read_table(run.staging / "visits.parquet").to_pylist()
    assert len(staged) == counts["staged"]
    for each in (each for each in staged if each["delivery_seq"] == ours):
        check_staged(each, held.records[each["source_line"]], run)
    if result.exit_code == 0:
        assert clinic.query("SELECT count(*) FROM quarantine_rows WHERE delivery_seq = ?", ours) == [(len(rejected),)]
        facts = clinic.query("SELECT visit_id, source_line FROM fact_visits WHERE delivery_seq = ?", ours)
        assert set(facts) <= {(each["visit_id"], each["source_line"]) for each in staged}


def check_staged(visit: dict[str, Any], record: dict[str, str] | str, run: Any) -> None:
    """Each value is what its cell says."""
    assert not isinstance(record, str), "a malformed record is no visit"
    cells = {name: text.strip(" \t") for name, text in record.items()}
    for name in ("visit_id", "patient_id", "provider_id", "diagnosis_code"):
        assert visit[name] == (cells.get(name) or None)
    assert visit["visit_date"].isoformat() == cells["visit_date"][:10]
    cost = cells.get("visit_cost") or None
    assert visit["visit_cost"] == (cost and Decimal(cost).quantize(Decimal("0.01"), ROUND_HALF_UP))
    if "last_updated" in cells:
        stamp = datetime.fromisoformat(cells["last_updated"])
        assert visit["last_updated"] == (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC))


@contextmanager
def no_hang() -> Iterator[None]:
    """TimeoutError after ten seconds' work, or after a minute of none: a busy machine is no hang."""
    worked, began = time.process_time(), time.monotonic()

    def stop(*_: Any) -> None:
        if time.process_time() - worked >= HANG_SECONDS or time.monotonic() - began >= 6 * HANG_SECONDS:
            raise TimeoutError(f"hangs: over {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_file(number: int, seeds: list[Seed], begun: Path) -> str:
    """Put one file through a run, judge what came of it. How it ended."""
    data, config = broken_file(number, seeds)
    held = what_it_holds(data, config)
    with tempfile.TemporaryDirectory(dir=begun.parent) as folder:
        clinic = Clinic(Path(folder) / "clinic", BASE | config)
        if number % 2 and "columns" not in config:  # onto a table and a watermark
            shutil.copytree(begun, clinic.folder, dirs_exist_ok=True)
        clinic.deliver(data)
        with no_hang():
            result = clinic.run(AS_OF)
        check_message(result.message, data, config)
        if held is None:
            assert result.exit_code == 3, f"to be refused: {result.message}"
            assert not clinic.query("SELECT 1 FROM fact_visits WHERE delivery_seq <> 1 OR visit_id <> 'V0'")
            return "refused"
        assert result.exit_code in (0, 4), result.message
        check_rows(clinic, result, held)
        arrived = result.counts["staged"] + result.counts["superseded"]
        assert (result.exit_code == 0) == (arrived > 0), "held is what brings no visit, and nothing else"
    return "loaded" if result.exit_code == 0 else "held"


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clinic that has loaded one visit, in memory, judged plainly; what only tells who ran what is left out."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    for name in ("code_hashes", "git_state", "packages"):
        monkeypatch.setattr(f"lib.provenance.{name}", dict)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        clinic = Clinic(Path(folder) / "begun", BASE)
        clinic.deliver([row("V0", last_updated="2025-10-01T12:00:00Z")])
        assert clinic.run(BEFORE).exit_code == 0
        yield clinic.folder


@pytest.mark.timeout(60 + 10 * FILES)
def test_broken_files(begun: Path) -> None:
    """Refused or held in one line that tells no value, or every row in exactly one place."""
    seeds = [*SMALL.values(), *further_seeds()]
    ended, failures = {"loaded": 0, "held": 0, "refused": 0}, []
    for number in range(FIRST, FIRST + FILES):
        try:
            ended[try_file(number, seeds, begun)] += 1
        except Exception as error:  # an AssertionError, or whatever the pipeline let through
            KEPT.mkdir(exist_ok=True)
            kept = KEPT / f"{number}.csv"
            kept.write_bytes(broken_file(number, seeds)[0])
            failures.append(f"file {number} (kept: {kept}): {type(error).__name__} {error}"[:300])
    print(f"{FILES:,} files: {', '.join(f'{count:,} {how}' for how, count in ended.items())}, {len(failures):,} wrong")
    told = "\n".join(failures[:20])
    assert not failures, f"again with FUZZ_FIRST=number FUZZ_FILES=1\n{told}"
    assert FILES < 100 or min(ended.values()) >= FILES // 50, "every way to end is tried"


@pytest.mark.parametrize("case", SMALL)
def test_every_seed_is_good(case: str) -> None:
    """A seed that were refused as it stands would test nothing but its refusal."""
    seed = SMALL[case]
    held = what_it_holds(seed.content, seed.config)
    assert held is not None and held.records
