"""verify --standalone: are records, decisions, snapshots and pages what the runs left? With the standard library only.

This file imports nothing else, so it can be taken along to a machine that has no more than Python:

    python3 standalone.py DATA_DIR [--anchor FILE] [--archive DIR]

The rules of the record live here, and `verify` holds to them too; it adds the tables. What binds what:

- each file of a record is hashed in its manifest, and each manifest but the first holds the hash of the one before;
- a manifest, a line of the journal or of the anchor, and a page each end with the SHA-256 of what is before;
- each manifest holds how far the journal of decisions reached, and the hashes of the snapshots that were read;
- the anchor, kept elsewhere, holds the hash of each manifest that was closed: it misses a tail that was cut off.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

MANIFEST, PAGE, INDEX = "manifest.json", "report.html", "index.html"
JOURNAL, LEDGER = "decisions.jsonl", "deliveries.jsonl"
TEMPORARY_PREFIX = ".tmp-"
NOT_RECORDED = {MANIFEST, PAGE, ".ipynb_checkpoints"}
"""In a record's folder, beside the files that its manifest lists."""
RUN_ID = re.compile(r"(\d{6,})-\d{8}T\d{6}Z")
SEALED = re.compile(rb'(\{.*),\n  "sha256": "([0-9a-f]{64})"\n\}\n', re.DOTALL)
PAGE_SEAL = re.compile(rb"(?:\A|(?<=\n))<!-- sha256 of the page before this line: ([0-9a-f]{64}) -->\n\Z")
WHOLE_LINE = re.compile(rb'(\{.*), "sha256": "([0-9a-f]{64})"\}')
LINE_BEGINNING, LEDGER_BEGINNING = b'{"time": "', b'{"source": "'
COMPARED = {
    "manifest_version", "run_id", "ended", "files", "code", "batch", "decisions", "recovered", "attempts",
    "previous_manifest_sha256",
}  # fmt: skip
"""What is held of a manifest."""
NOT_BOUND = "does not follow the entry before it: one was edited, deleted, inserted or moved there"
EDITED = "was edited after the run"
DECISIONS = {"accept", "discard", "reinstate", "waive", "reveal", "trace", "sign"}


@dataclass(frozen=True)
class Finding:
    """One thing that is not what it was: where, and what."""

    where: str
    what: str


@dataclass(frozen=True)
class Line:
    """One whole line of a journal: its number, its entry, and whether it is what was written."""

    number: int
    entry: dict[str, Any]
    sha256: str
    sound: bool
    chained: bool


@dataclass(frozen=True)
class Record:
    """A record's folder as read: its manifest's SHA-256, and of its content what is compared (there may be many runs).
    `sound`: the manifest is what was written, as far as it can tell by itself."""

    folder: Path
    where: str
    sha256: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)
    sound: bool = False

    @property
    def run_id(self) -> str:
        """Whose record it says it is; of one that was edited, the folder's name."""
        said = self.manifest.get("run_id")
        return said if self.sound and isinstance(said, str) and RUN_ID.fullmatch(said) else self.folder.name

    @property
    def number(self) -> int:
        return _number(self.run_id)

    @property
    def closed(self) -> bool:
        """Whether its run has ended. One that runs now, or was killed and is repaired by the next run, has not."""
        return bool(self.manifest.get("ended"))


def find_changes(data_dir: Path, *, anchor: Path | None = None, archive: Path | None = None) -> list[Finding]:
    """Everything of a data folder, its tables aside, that is not what the runs left. `archive`: where records that were
    moved away lie; they are verified with the rest."""
    records = read_records(data_dir, archive)
    journal = _content(data_dir / "runs" / JOURNAL)
    noted = _content(anchor) if anchor else b""  # after the records: a run that ends now closes its own first
    return [
        *check_snapshots(data_dir, records),
        *check_records(records),
        *_check_page(data_dir / "runs" / INDEX, "runs"),
        *check_journal(journal, records),
        *(check_anchor(anchor.name, noted, records, journal) if anchor else ()),
    ]


def read_records(data_dir: Path, archive: Path | None = None) -> list[Record]:
    """Every record of the data folder and of the archive, oldest first. Whatever holds a manifest counts as one."""
    found: dict[str, Record] = {}
    for folder, name in ((data_dir / "runs", "runs"), *([(archive, archive.name)] if archive else [])):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            named_so = path.name[:1].isdigit() or (path / MANIFEST).is_file()
            if path.is_dir() and named_so and not path.name.startswith(".") and path.name not in found:
                found[path.name] = _read_record(path, f"{name}/{path.name}")
    records = [found[name] for name in sorted(found)]
    if records and not any(records[-1].folder.iterdir()):
        records.pop()  # a run that begins now, or died before its manifest
    return records


def _read_record(folder: Path, where: str) -> Record:
    text = _content(folder / MANIFEST)
    try:
        manifest = json.loads(text)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        return Record(folder, where, digest(text))
    kept = {name: value for name, value in manifest.items() if name in COMPARED}
    kept["code"] = {
        name: value for name, value in _mapping(manifest, "code").items() if name.startswith("expectations/")
    }
    return Record(folder, where, digest(text), kept, is_sealed_manifest(text, manifest))


def is_sealed_manifest(text: bytes, manifest: dict[str, Any]) -> bool:
    """Whether a manifest ends with the SHA-256 of its other text. Those of version 1 did not."""
    if manifest.get("manifest_version") == 1 and "sha256" not in manifest:
        return True
    found = SEALED.fullmatch(text)
    return found is not None and digest(found[1] + b"\n}\n") == found[2].decode()


def is_sealed_page(page: bytes) -> bool:
    """Whether a page's last line is there, and holds the SHA-256 of all bytes before it."""
    found = PAGE_SEAL.search(page)
    return found is not None and digest(page[: found.start()]) == found[1].decode()


def check_records(records: list[Record]) -> list[Finding]:
    """Every record against its manifest, and every manifest against the next."""
    return [*(each for record in records for each in check_record(record)), *check_chain(records)]


def check_record(record: Record) -> list[Finding]:
    """One record by itself: what was edited, is gone, came in, or bears another run's name."""
    if not (record.folder / MANIFEST).exists():
        return [Finding(record.where, "the manifest is missing")]
    if not record.manifest:
        return [Finding(f"{record.where}/{MANIFEST}", "is not JSON any more")]
    findings = [] if record.sound else [Finding(f"{record.where}/{MANIFEST}", EDITED)]
    if record.run_id != record.folder.name:
        findings.append(Finding(record.where, f"is the record of run {record.run_id}: it was renamed or copied"))
    elif record.sound and record.manifest.get("run_id") != record.run_id:
        findings.append(Finding(record.where, "is the record of another run"))
    if record.closed:
        findings += _check_files(record)
    return (
        [] if findings and digest(_content(record.folder / MANIFEST)) != record.sha256 else findings
    )  # its run goes on


def _check_files(record: Record) -> list[Finding]:
    files, code = _mapping(record.manifest, "files"), _mapping(record.manifest, "code")
    findings = []
    for name, sha256 in files.items():
        path, where = record.folder / name, f"{record.where}/{name}"
        if not path.is_file():
            findings.append(Finding(where, "is missing"))
        elif _sha256(path) != sha256:
            findings.append(Finding(where, EDITED))
        elif code.get(f"expectations/{name}", sha256) != sha256:
            findings.append(Finding(where, "is not the suite that the run began with"))
    for path in sorted(record.folder.iterdir()):
        if path.name not in files and path.name not in NOT_RECORDED and not path.name.startswith(TEMPORARY_PREFIX):
            findings.append(Finding(f"{record.where}/{path.name}", "came in after the run"))
    before_seals = record.manifest.get("manifest_version") == 1
    return [*findings, *_check_page(record.folder / PAGE, record.where, f" {record.run_id}", before_seals)]


def _check_page(page: Path, where: str, argument: str = "", before_seals: bool = False) -> list[Finding]:
    if not page.is_file():
        return []
    content = _content(page)
    if is_sealed_page(content) or (before_seals and b"<!-- sha256 of the page" not in content):
        return []
    return [Finding(f"{where}/{page.name}", f"was edited; python run_pipeline.py report{argument} makes it again")]


def check_chain(records: list[Record]) -> list[Finding]:
    """The records in the order that they themselves tell. Where one does not follow the one before, some were deleted
    there, one was inserted, or the one before was edited and given a new hash of its own."""
    findings: list[Finding] = []
    by_run: dict[str, Record] = {}
    for record in sorted(records, key=lambda each: each.folder.name != each.run_id):  # before its copies
        if record.manifest:
            by_run.setdefault(record.run_id, record)
    chain = [by_run[run_id] for run_id in sorted(by_run)]
    numbers = {_number(each.folder.name) for each in records}  # a folder that lost its manifest is told already
    last: Record | None = None
    seen: set[str] = set()
    for place, record in enumerate(chain):
        previous = record.manifest.get("previous_manifest_sha256")
        if not (record.sound and record.closed):
            pass
        elif last is None:
            if previous is not None:
                findings.append(_gone(1, record, "; if they were moved to an archive, name it with --archive"))
        elif previous != last.sha256 and last.sound:
            later = (each.manifest.get("previous_manifest_sha256") for each in chain[place + 1 :])
            has_gap = any(number not in numbers for number in range(last.number + 1, record.number))
            if previous in seen or last.sha256 in later:
                findings.append(Finding(record.where, "no record follows it: it was inserted"))
                continue
            if has_gap and previous is not None:
                findings.append(_gone(last.number + 1, record))
            elif record.number - last.number <= 1:
                what = f"is not the one that run {record.run_id} was chained to: it was edited or replaced"
                findings.append(Finding(f"{last.where}/{MANIFEST}", what))
        last = record
        seen.add(record.sha256)
    return findings


def _gone(first: int, after: Record, hint: str = "") -> Finding:
    """Of the records from that number on, up to the one that was chained to them."""
    last = after.number - 1
    what = f"run {after.run_id} was chained to what is gone{hint}"
    if last <= first:
        return Finding(f"runs/{first:06d}", f"the record is gone: {what}")
    return Finding(f"runs/{first:06d} to {last:06d}", f"{last - first + 1:,} records are gone: {what}")


def check_journal(journal: bytes, records: list[Record]) -> list[Finding]:
    """The journal against its own chain and the heads that the runs kept; sign-offs against what was signed."""
    findings, whole = find_breaks(f"runs/{JOURNAL}", journal), whole_lines(journal)
    for record in records:
        if _is_cut(whole, _mapping(record.manifest, "decisions")) and record.sound:
            reached = _mapping(record.manifest, "decisions").get("entries")
            what = f"its first {reached} entries are not those that run {record.run_id} found; some are gone"
            findings.append(Finding(f"runs/{JOURNAL}", what))
            break
    by_name = {each.folder.name: each for each in records}
    for entry in (each.entry for each in whole if each.sound and each.entry.get("decision") == "sign"):
        run_id = str(entry.get("run_id"))
        signed = by_name.get(run_id)
        if signed is None or signed.sha256 != entry.get("manifest_sha256"):
            what = f"is not the one that {entry.get('actor')} signed as {entry.get('meaning')} at {entry.get('time')}"
            findings.append(Finding(f"{signed.where if signed else f'runs/{run_id}'}/{MANIFEST}", what))
    return findings


def _is_cut(whole: list[Line], head: dict[str, Any]) -> bool:
    """Whether a journal does not hold, or holds other, entries than one that had this head."""
    reached = head.get("entries")
    if not isinstance(reached, int) or reached < 1:
        return False
    return reached > len(whole) or whole[reached - 1].sha256 != head.get("head_sha256")


def told(findings: int) -> str:
    """How many things are not what the runs left."""
    return "1 thing is not what it was" if findings == 1 else f"{findings:,} things are not what they were"


def check_anchor(name: str, noted: bytes, records: list[Record], journal: bytes) -> list[Finding]:
    """Records and journal against the anchor: what it knows and is gone or other, and what it does not know."""
    findings = find_breaks(name, noted)
    if not noted and any(record.closed for record in records):
        return [Finding(name, "the anchor is missing or empty: taken away, or never writable")]
    sound = [each.entry for each in whole_lines(noted) if each.sound]
    hashes: dict[str, list[Any]] = {}
    for entry in sound:
        hashes.setdefault(str(entry.get("run_id")), []).append(entry.get("manifest_sha256"))
    there = {record.run_id: record for record in records}
    first = min(there, default="")
    for run_id, known in hashes.items():
        record = there.get(run_id)
        if record is None:
            if run_id > first:  # older ones are told together
                findings.append(Finding(f"runs/{run_id}", "the record is gone; the anchor knows it"))
        elif record.sound and record.closed and record.sha256 != known[-1]:
            findings.append(
                Finding(f"{record.where}/{MANIFEST}", "is not the one that the anchor knows: it was edited")
            )
        elif len(set(known)) > 1 and not (record.manifest.get("recovered") or record.manifest.get("attempts")):
            what = "the anchor knows it in two forms, though the run was neither resumed nor repaired"
            findings.append(Finding(f"{record.where}/{MANIFEST}", what))
    for record in there.values():
        if record.closed and record.run_id not in hashes:
            findings.append(Finding(record.where, "the anchor does not know it: it was inserted, or not noted yet"))
    heads = [_mapping(entry, "decisions") for entry in sound]
    entries = whole_lines(journal)
    if any(_is_cut(entries, head) for head in heads):
        reached = max(int(head.get("entries") or 0) for head in heads)
        findings.append(Finding(f"runs/{JOURNAL}", f"is not the journal of {reached} entries that the anchor knows"))
    return findings


def check_snapshots(data_dir: Path, records: list[Record]) -> list[Finding]:
    """Every snapshot hashed again, files in raw that no delivery names, and the ledgers against what the runs read."""
    raw, findings, ledgers = data_dir / "raw", [], {}
    if not may_read(raw):  # an auditor who may read the records, and only them
        return []
    for folder in sorted(each for each in raw.iterdir() if each.is_dir()) if raw.is_dir() else []:
        where, content = f"raw/{folder.name}", _content(folder / LEDGER)
        ledger = ledgers[folder.name] = _ledger(content)
        for number in _strange_lines(content, set(_entries(content)), LEDGER_BEGINNING):
            findings.append(Finding(f"{where}/{LEDGER} line {number}", "is no delivery (any more)"))
        named = {str(each.get("snapshot")): each.get("sha256") for each in ledger.values()}
        for name, sha256 in named.items():
            if not (folder / name).is_file():
                findings.append(Finding(f"{where}/{name}", "the snapshot is missing; restore it from a backup"))
            elif _sha256(folder / name) != sha256:
                what = "the snapshot is not what was received (its SHA-256 differs); restore it from a backup"
                findings.append(Finding(f"{where}/{name}", what))
        for path in sorted(folder.iterdir()):
            if path.name not in named and path.suffix != ".jsonl" and not path.name.startswith(TEMPORARY_PREFIX):
                findings.append(Finding(f"{where}/{path.name}", "no delivery names it"))
    return [*findings, *_check_ledgers(ledgers, records)]


def may_read(folder: Path) -> bool:
    """Whether what is in the folder may be read by this user, if it is there."""
    return not folder.exists() or os.access(folder, os.R_OK | os.X_OK)


def _check_ledgers(ledgers: dict[str, dict[Any, Any]], records: list[Record]) -> list[Finding]:
    """Each delivery that a run read is in the ledger as it was then; each wrong one is told once."""
    wrong: dict[tuple[str, Any], Finding] = {}
    for record in records:
        batch = _mapping(record.manifest, "batch") if record.sound else {}
        for delivery in (*batch.get("deliveries", ()), *batch.get("context", ())):
            source, sequence = str(delivery.get("source")), delivery.get("sequence")
            held = ledgers.get(source, {}).get(sequence)
            if held != delivery:
                what = f"delivery {sequence} is not the one that run {record.run_id} read"
                what = what if held else f"lacks delivery {sequence}, which run {record.run_id} read"
                wrong.setdefault((source, sequence), Finding(f"raw/{source}/{LEDGER}", what))
    return list(wrong.values())


def _ledger(content: bytes) -> dict[Any, Any]:
    """A ledger's deliveries by sequence."""
    return {each.get("sequence"): each for each in _entries(content).values()}


def _entries(content: bytes) -> dict[int, dict[str, Any]]:
    """The JSON objects of a text of lines, by line number from 1."""
    entries = {}
    for number, text in enumerate(content.split(b"\n"), 1):
        try:
            entry = json.loads(text)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries[number] = entry
    return entries


def whole_lines(content: bytes) -> list[Line]:
    """The lines of a journal that hold an entry, by line number from 1. What cannot be read as one is left out."""
    lines, texts = [], content.split(b"\n")
    for number, entry in _entries(content).items():
        text = texts[number - 1]
        found = WHOLE_LINE.fullmatch(text)
        chained = "previous_sha256" in entry or "sha256" in entry
        sound = not chained or bool(found and digest(found[1] + b"}") == found[2].decode())
        lines.append(Line(number, entry, digest(text), sound, chained))
    return lines


def find_breaks(where: str, content: bytes) -> list[Finding]:
    """Every place where a journal, the anchor among them, is not what was written, by line number."""
    whole = whole_lines(content)
    numbers = {each.number for each in whole}
    strange = _strange_lines(content, numbers, LINE_BEGINNING)
    breaks = {number: Finding(f"{where} line {number}", "is no entry (any more)") for number in strange}
    previous, chained = None, False
    for line in whole:
        named = line.entry.get("decision")
        told = f"{where} line {line.number}" + (f" ({named})" if named in DECISIONS else "")
        if not line.sound:
            breaks[line.number] = Finding(told, "was edited")
        elif line.chained and line.entry.get("previous_sha256") != previous:
            breaks[line.number] = Finding(told, NOT_BOUND)
        elif chained and not line.chained:
            breaks[line.number] = Finding(told, "is bound to no entry: it was inserted")
        previous, chained = line.sha256, chained or line.chained
    return [breaks[number] for number in sorted(breaks)]


def _strange_lines(content: bytes, entries: set[int], beginning: bytes) -> list[int]:
    """The numbers of lines that hold no entry, but for those that a crash left torn: the beginning of an entry, at the
    tail without a line end, or ended by the entry that came next."""
    lines, last, strange = content.split(b"\n"), max(entries, default=0), []
    for number, text in enumerate(lines, 1):
        is_tail = number == len(lines)
        if number in entries or (is_tail and not text):
            continue
        begins = bool(text) and (text.startswith(beginning) or beginning.startswith(text))
        if not (begins and not WHOLE_LINE.match(text) and (is_tail or number < last)):
            strange.append(number)
    return strange


def _number(run_id: str) -> int:
    """A run's sequence number; 0 of what is no run id."""
    return int(run_id.partition("-")[0]) if RUN_ID.fullmatch(run_id) else 0


def digest(data: bytes) -> str:
    """SHA-256, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def _sha256(path: Path) -> str | None:
    """Of a file's bytes; None when it cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                found.update(chunk)
    except OSError:
        return None
    return found.hexdigest()


def _content(path: Path) -> bytes:
    """A file's bytes; none when it is not there or cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _mapping(content: dict[str, Any], name: str) -> dict[str, Any]:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"verify --standalone: {message}.", file=sys.stderr)
        sys.exit(2)


def main(words: list[str], data_dir: Path = Path("data")) -> int:
    """Print what is not what it was, and one line at the end. The exit code: 0, 2 for a bad option, 6 for findings."""
    parser = _Parser(prog="verify --standalone", description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", nargs="?", metavar="DATA_DIR", help="the data folder")
    parser.add_argument("--data-dir", default=str(data_dir), metavar="DIR", help="the same")
    parser.add_argument("--anchor", metavar="FILE", help="the file that knows the hash of each record; see config.yaml")
    parser.add_argument("--archive", metavar="DIR", help="where records were moved to; verified with the rest")
    given = parser.parse_args(words)
    place = Path(given.folder or given.data_dir).expanduser()
    archive = Path(given.archive).expanduser() if given.archive else None
    if not (place / "runs").is_dir():
        parser.error(f"{place} holds no run records; name a data folder")
    if archive and not archive.is_dir():
        parser.error(f"--archive: {archive} is no folder")
    try:
        findings = find_changes(
            place, anchor=Path(given.anchor).expanduser() if given.anchor else None, archive=archive
        )
    except OSError as error:
        parser.error(f"{error.filename or place} cannot be read ({os.strerror(error.errno or 0)})")
    for finding in findings:
        print(f"{finding.where}: {finding.what}")
    if findings:
        print(f"{told(len(findings))}; restore them from a backup, or ask who changed them.", file=sys.stderr)
        return 6
    held = "snapshots, records and decisions" if may_read(place / "raw") else "records and decisions"
    left_out = "the tables were" if may_read(place / "raw") else "snapshots, which you may not read, and tables were"
    print(f"{held} are what the runs left; {left_out} not looked at: see verify")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
