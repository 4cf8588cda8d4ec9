"""verify: snapshots, records, decisions and tables against what the runs left; with a rebuild, what raw gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from lib import standalone
from lib.config import Settings
from lib.content import differing_parts
from lib.counted import counted
from lib.deliveries import Delivery, read_ledger, sources_held
from lib.errors import PipelineError, StoredDataChanged, TemporaryFailure
from lib.files import read_json
from lib.layout import Layout
from lib.manifest import FILE_NAME
from lib.provenance import code_hashes
from lib.restore import lost_loads, lost_text
from lib.sql import statement
from lib.standalone import Finding
from lib.terminal import consoles
from lib.warehouse import reading, schema_statements
from lib.warehouses.choose import kind_of
from lib.warehouses.interface import Connection

ATTEMPTS = 5


def print_verification(
    layout: Layout, *, anchor: Path | None = None, rebuild_for: Settings | None = None, reveal: bool = False
) -> None:
    """Print what was checked. Raises StoredDataChanged when anything is not what it was, after naming each.

    `rebuild_for`: build the tables again from raw too; `reveal`: with the keys of the rows that differ.
    """
    out, _ = consoles()
    findings = find_changes(layout, anchor)
    _print(out, findings)
    for line in changed_suites(layout):
        out.print(line, markup=False, soft_wrap=True)
    remedy = "restore them from a backup, or ask who changed them."
    if rebuild_for:
        differing = _rebuild(out, layout, rebuild_for, reveal)
        if differing and not findings:
            remedy = "restore the warehouse from a backup, or build the tables again with --full-refresh."
        findings += differing
    if findings:
        raise StoredDataChanged(f"{standalone.told(len(findings))}; {remedy}")
    also = ", and what raw gives when every run is done again" if rebuild_for else ""
    out.print(f"snapshots, records, decisions and tables are what the runs left{also}", soft_wrap=True)


def _rebuild(out: Console, layout: Layout, settings: Settings, reveal: bool) -> list[Finding]:
    from lib.rebuild import rebuild_tables

    def progress(line: str) -> None:
        out.print(line, markup=False, soft_wrap=True)

    try:
        rebuilt = rebuild_tables(layout, settings, progress)
    except StoredDataChanged as changed:
        where, _, what = str(changed).partition(": ")
        findings = [Finding(where, what)]
        _print(out, findings)
        return findings
    findings = [Finding(layout.warehouse.name, each.text) for each in rebuilt.differences]
    _print(out, findings)
    for each in rebuilt.differences if reveal else ():
        for kind in ("missing", "unsupported", "differing"):
            for key in getattr(each, kind):
                progress(f"{each.table}, {kind}: {' '.join(str(part) for part in key)}")
    for count, what in ((rebuilt.other_code, "made by other code"), (rebuilt.other_rules, "staged under other rules")):
        if count and findings:
            progress(f"{count:,} of {rebuilt.runs:,} runs were {what} than now: differences may come from that")
    return findings


def _print(out: Console, findings: list[Finding]) -> None:
    for finding in findings:
        out.print(f"{finding.where}: {finding.what}", markup=False, soft_wrap=True)


def find_changes(layout: Layout, anchor: Path | None = None) -> list[Finding]:
    """Everything that is not what the runs left. `anchor`: the file elsewhere that knows each record."""
    layout.fetch_snapshots()
    return [
        *standalone.find_changes(layout.data_dir, anchor=anchor, archive=layout.archive),
        *verify_age(layout),
        *verify_tables(layout),
    ]


def changed_suites(layout: Layout) -> list[str]:
    """The suites that are not those of the newest run, a line each. That is no finding: the next run is judged by them,
    and each record keeps those that judged it."""
    for run_id in reversed(layout.run_ids()):
        try:
            manifest = read_json(layout.record(run_id) / FILE_NAME)
        except (OSError, ValueError):
            continue
        if manifest.get("ended"):
            code, now = manifest.get("code") or {}, code_hashes()
            suites = sorted(name for name in {*code, *now} if name.startswith("expectations/"))
            told = f"is another than in run {run_id}; the next run is judged by it"
            return [f"{name}: {told}" for name in suites if code.get(name) != now.get(name)]
    return []


def verify_age(layout: Layout) -> list[Finding]:
    """Whether the warehouse knows every load that the records tell of; one that was copied back may not."""
    with reading(layout) as connection:
        lost = [lost_loads(layout, connection, source) for source in sources_held(layout)]
    return [Finding(layout.warehouse.name, lost_text(each)) for each in lost if each]


def verify_tables(layout: Layout) -> list[Finding]:
    """The database against itself, the content hashes, the records and the ledgers.

    Readers block nobody: each check reads on its own, and when a run committed meanwhile, all are made again.
    """
    for _ in range(ATTEMPTS):
        try:
            with reading(layout) as connection:
                version = _version(connection)
                findings = [each for check in _CHECKS for each in _checked(check, connection, layout)]
                if _version(connection) == version:
                    return findings
        except (StoredDataChanged, TemporaryFailure):
            raise
        except PipelineError:  # an error that the database has no better name for
            return [Finding(layout.warehouse.name, "cannot be read")]
    raise TemporaryFailure(f"{layout.warehouse.name}: runs load faster than it can be checked; verify again later.")


def value_counts_that_differ(connection: Connection) -> int:
    """Values whose count in `visit_value_counts` is not that of the facts. Reads every visit."""
    counted = statement("warehouse/visit_values", connection.kind, facts="fact_visits")
    query = statement("warehouse/verify/value_counts_that_differ", counted=counted)
    differing: int = connection.execute(query).fetchone()[0]
    return differing


Check = Callable[[Connection, Layout], list[str]]


def _checked(check: Check, connection: Connection, layout: Layout) -> list[Finding]:
    try:
        found = check(connection, layout)
    except PipelineError:
        raise
    except Exception as error:  # whatever reading a damaged database raises; its text may hold values: none is told
        if not kind_of(connection).unreadable(error):
            raise
        found = [f"cannot be read ({check.__name__.strip('_').replace('_', ' ')})"]
    return [Finding(layout.warehouse.name, what) for what in found]


def _version(connection: Connection) -> Any:
    row = connection.execute("SELECT version FROM warehouse").fetchone()
    return row and row[0]


def _soundness(connection: Connection, layout: Layout) -> list[str]:
    return kind_of(connection).unsound(connection)


def _schema(connection: Connection, layout: Layout) -> list[str]:
    """Tables and indexes declared as this release declares them, carried columns aside, and nothing else."""
    texts = [text for _, texts in schema_statements(connection.kind) for text in texts]
    return kind_of(connection).declared_otherwise(connection, texts)


def _content(connection: Connection, layout: Layout) -> list[str]:
    return [
        f"{table}: the rows of {counted(count, *PART_WORDS[table])} are not what the runs left"
        for table, count in differing_parts(connection).items()
    ]


PART_WORDS = {
    "fact_visits": ["day"], "metric_changes": ["run"], "lateness": ["run"], "runs": ["run"], "quarantine": ["source"],
    "quarantine_rows": ["delivery", "deliveries"], "deliveries": ["source"], "state": ["source"],
}  # fmt: skip


def _metrics(connection: Connection, layout: Layout) -> list[str]:
    every_day = statement("warehouse/days_that_differ", connection.kind, checked="true")
    differing = connection.execute(every_day).fetchone()[0]
    unsaid = connection.execute(statement("warehouse/verify/days_not_as_changed")).fetchone()[0]
    return ([f"daily_visit_metrics: {counted(differing, 'day')} not as the facts give it"] if differing else []) + (
        [f"daily_visit_metrics: {counted(unsaid, 'day')} not as metric_changes says last"] if unsaid else []
    )


def _value_counts(connection: Connection, layout: Layout) -> list[str]:
    differing = value_counts_that_differ(connection)
    return [f"visit_value_counts: {counted(differing, 'count')} not as the facts give it"] if differing else []


def _state(connection: Connection, layout: Layout) -> list[str]:
    differing = connection.execute(statement("warehouse/verify/states_that_differ", connection.kind)).fetchone()[0]
    return ["state or version are not what the newest runs left"] if differing else []


def _runs(connection: Connection, layout: Layout) -> list[str]:
    """Each loaded run against its manifest, of the sources that deliver into this data folder."""
    findings = []
    for row in connection.execute("SELECT * FROM runs ORDER BY version").fetchall():
        if not (layout.raw / row["source"]).is_dir():
            continue
        try:
            manifest = read_json(layout.record(row["run_id"]) / FILE_NAME)
        except (OSError, ValueError):
            findings.append(f"the record of run {row['run_id']}, which is loaded, cannot be read")
            continue
        loaded = manifest.get("load") or {"version": row["version"]}
        said = (manifest.get("source"), manifest.get("as_of"), manifest.get("counts"), loaded["version"])
        if said != (row["source"], row["as_of"], json.loads(row["counts"]), row["version"]):
            findings.append(f"run {row['run_id']} is not what its manifest says")
    return findings


def _deliveries(connection: Connection, layout: Layout) -> list[str]:
    """What the warehouse knows of each delivery against the raw ledger; one that is only in the ledger is pending."""
    names = list(Delivery.__dataclass_fields__)
    findings = []
    for (source,) in connection.execute("SELECT DISTINCT source FROM deliveries").fetchall():
        if not (layout.raw / source).is_dir():
            continue
        ledger = {each.sequence: each for each in read_ledger(layout, source)}
        rows = connection.execute(f"SELECT {', '.join(names)} FROM deliveries WHERE source = ?", [source]).fetchall()
        wrong = sum(ledger.get(row["sequence"]) != Delivery(**dict(row)) for row in rows)
        if wrong:
            findings.append(f"{source}: {counted(wrong, 'delivery', 'deliveries')} not as the ledger in raw says")
    return findings


_CHECKS: tuple[Check, ...] = (_soundness, _schema, _content, _metrics, _value_counts, _state, _runs, _deliveries)
