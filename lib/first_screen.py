"""What a reader must know of a run before anything else: passed or failed, over what, by whom, and what to mind.

Made of the record alone (manifest, dq_report.json, the manifest before, the journal): it can be made again at any time.
Every text in it is of counts, names and the config: nothing of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from lib.caveats import caveats
from lib.clock import parse_instant, short_instant
from lib.counted import counted
from lib.differences import NONE, differences, since_text
from lib.files import json_text, read_json
from lib.journal import read_entries
from lib.layout import NOTEBOOKS, REPORT, Layout
from lib.manifest import Manifest
from lib.reconciliation import FATE_WORDS, reconciliation_line
from lib.rule_history import limit_text, value_text, worst_results
from lib.run_in_words import (
    Verdict,
    how_it_went,
    next_step,
    published,
    sentence,
    to_bear_in_mind,
    use,
    verdict_of,
)
from lib.run_records import newest_records
from lib.standalone import digest

BATCH = "batch"
"""The scope of a rule that judged the batch as a whole."""
MOST_NAMED = 6
"""Deliveries that are named one by one; of more, how many there are."""
TOLD_BY_CAVEAT = {"missed": "missed_rows", "rules": "changed_rules"}
"""Caveats that say more than the rule that found them."""


@dataclass(frozen=True)
class RuleLine:
    """One rule of the gate at its worst, as text. `holds`: yes, NO, accepted, not judged."""

    rule: str
    severity: str
    observed: str
    limit: str
    holds: str
    where: str
    why: str


@dataclass(frozen=True)
class FirstScreen:
    """One run at a glance. Of a failed run `next_step` says what did not happen and what to do; `use` whether the
    tables may be used. `since` is what changed in code, config and packages since `previous`, the run before."""

    verdict: Verdict
    run_id: str
    source: str
    sentence: str
    next_step: str | None
    use: str
    facts: tuple[tuple[str, str], ...]
    reconciliation: str
    fates: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, int], ...]
    rules: tuple[RuleLine, ...]
    published: tuple[str, ...]
    previous: str | None
    since: tuple[str, ...]
    caveats: tuple[str, ...]
    notebooks: tuple[tuple[str, str], ...]
    sign_offs: tuple[str, ...]


def first_screen(layout: Layout, run_id: str, end: dict[str, Any] | None = None) -> FirstScreen:
    """The first screen of a run. `end` are sections that its manifest is about to get. Raises as `Manifest.read`."""
    manifest = {**Manifest.read(layout.record(run_id)).content, **(end or {})}
    before = runs_before(layout, run_id, manifest["source"])
    rules = tuple(_rules(layout, run_id))
    previous = next(before, None)
    counts = manifest.get("counts") or {}
    return FirstScreen(
        verdict=verdict_of(manifest),
        run_id=run_id,
        source=manifest["source"],
        sentence=sentence(manifest, [_stopping(each) for each in rules if _stops(each)]),
        next_step=next_step(manifest),
        use=use(manifest, chain([previous] if previous else [], before)),
        facts=tuple(_facts(manifest)),
        reconciliation=reconciliation_line(counts, manifest.get("outcome") == "loaded"),
        fates=tuple((words.strip(), counts[name]) for name, words in FATE_WORDS.items() if name in counts),
        reasons=tuple((manifest.get("reasons") or {}).items()),
        rules=rules,
        published=tuple(published(manifest)),
        previous=previous["run_id"] if previous else None,
        since=tuple(_since(previous, manifest)) if previous else (),
        caveats=tuple(_caveats(manifest, rules)),
        notebooks=tuple((name, how_it_went(manifest, name)) for name in NOTEBOOKS),
        sign_offs=tuple(_sign_offs(layout, run_id, manifest)),
    )


def runs_before(layout: Layout, run_id: str, source: str) -> Iterator[dict[str, Any]]:
    """The manifests of the source's earlier runs, newest first; one that cannot be read is passed over."""
    for record in newest_records(layout):
        if record.run_id < run_id and isinstance(record.manifest, dict) and record.manifest.get("source") == source:
            yield record.manifest


def _facts(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    window, load = manifest["window"], manifest.get("load") or {}
    yield "as of", _instant(manifest["as_of"])
    if manifest["options"]["full_refresh"]:
        yield "window", "every row: a full refresh"
    elif window["cutoff"]:
        yield "window", f"rows updated from {_instant(window['cutoff'])}: watermark less {window['lookback_hours']:g} h"
    else:
        yield "window", "every row: there was no watermark yet"
    yield (
        "watermark",
        f"{_instant(manifest['committed_watermark'])} → {_instant(load.get('watermark_after'), 'as before')}",
    )
    for each in ((manifest.get("batch") or {}).get("deliveries") or [])[:MOST_NAMED]:
        name = str(each["path"]).rsplit("/", 1)[-1]
        yield (
            f"delivery {each['sequence']}",
            f"{name}, {counted(each['bytes'], 'byte')}, SHA-256 {each['sha256'][:12]}…",
        )
    more = len((manifest.get("batch") or {}).get("deliveries") or []) - MOST_NAMED
    if more > 0:
        yield "deliveries", f"and {more:,} more, in the manifest"
    yield "who, where", f"{manifest['actor']} on {manifest['host']}"
    yield "when", f"{_instant(manifest['started'])} to {_instant(manifest.get('ended'), 'now')}"
    yield "code", _code(manifest)
    if accepted := manifest["options"]["accept"]:
        yield "accepted", f"{', '.join(accepted)} by {manifest['actor']}: {manifest['options']['reason']}"
    for number, attempt in enumerate(manifest.get("attempts") or [], start=1):
        yield f"attempt {number}", _attempt(attempt)
    yield "outcome", f"{manifest['outcome']}, exit {_exit(manifest)}"


def _attempt(attempt: dict[str, Any]) -> str:
    """One attempt at a resumed run: whose it was, after which notebook it went on, how it ended."""
    after = f", after {attempt['after']}" if attempt.get("after") else ""
    why = f": {attempt['message']}" if attempt.get("message") else ""
    return f"by {attempt['actor']} at {_instant(attempt['started'])}{after}, {attempt.get('outcome', 'running')}{why}"


def _rules(layout: Layout, run_id: str) -> Iterator[RuleLine]:
    """The gate's rules at their worst, what does not hold first; none where the gate was not reached."""
    try:
        entries = read_json(layout.record(run_id) / REPORT)["rules"]
    except (OSError, ValueError, KeyError):
        return
    for each in sorted(worst_results(entries), key=lambda rule: (rule["passed"], rule["severity"] != "critical")):
        holds = "accepted" if each["overridden"] else "NO" if not each["passed"] else "yes"
        yield RuleLine(
            rule=each["id"],
            severity=each["severity"],
            observed=value_text(each["observed"], each["unit"]),
            limit=limit_text(each["comparison"], each["threshold"], each["unit"]),
            holds="not judged" if each["observed"] is None and each["passed"] else holds,
            where=each["scope"],
            why=each["reason"],
        )


def _since(before: dict[str, Any], manifest: dict[str, Any]) -> Iterator[str]:
    """What changed; that an earlier acceptance was for its own batch only is no change."""
    found = differences(before, manifest)
    return since_text(each for each in found if (each.kind, each.name, each.after) != ("option", "accepted", NONE))


def _stopping(rule: RuleLine) -> str:
    where = "" if rule.where == BATCH else f", {rule.where}"
    return f"{rule.rule} {rule.observed} (limit {rule.limit}{where})"


def _stops(rule: RuleLine) -> bool:
    return rule.severity == "critical" and rule.holds == "NO"


def _caveats(manifest: dict[str, Any], rules: Iterable[RuleLine]) -> Iterator[str]:
    """What does not hold first, then what else a reader must know."""
    better = {TOLD_BY_CAVEAT.get(word) for word, _ in caveats(manifest)}
    for each in rules:
        if each.holds in ("NO", "accepted") and each.rule not in better:
            done = f" {manifest['actor']} accepted that." if each.holds == "accepted" else ""
            yield f"{each.rule}: {each.observed}, limit {each.limit} ({each.where}).{done} {each.why}"
    yield from to_bear_in_mind(manifest)


def _sign_offs(layout: Layout, run_id: str, manifest: dict[str, Any]) -> Iterator[str]:
    for each in read_entries(layout.decisions):
        if each.get("decision") == "sign" and each.get("run_id") == run_id:
            same = ", who also ran it" if each["actor"] == manifest["actor"] else ""
            yield f"{each['meaning']} by {each['actor']}{same}, at {_instant(each['time'])}: {each['reason']}"


def _instant(text: Any, otherwise: str = "none") -> str:
    return short_instant(parse_instant(text).replace(microsecond=0)) if text else otherwise


def _code(manifest: dict[str, Any]) -> str:
    """A fingerprint of every file that decides a result, the commit, the interpreter."""
    git, code = manifest["git"], manifest.get("code") or {}
    commit = f"commit {git['commit'][:12]}" if git.get("commit") else "not in git"
    changed = " with uncommitted changes" if git.get("dirty") else ""
    fingerprint = digest(json_text(code))[:12]
    python = manifest["interpreter"]["version"]
    return f"fingerprint {fingerprint} of {counted(len(code), 'file')}; {commit}{changed}; Python {python}"


def _exit(manifest: dict[str, Any]) -> str:
    return "unknown" if manifest.get("exit_code") is None else str(manifest["exit_code"])
