"""What a reader must know of a run before anything else: passed or failed, over what, by whom, and what to mind.

Made of the record alone (manifest, dq_report.json, the manifest before, the journal): it can be made again at any time.
Every text in it is of counts, names and the config: nothing of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from lib.caveats import behind_text, caveats
from lib.clock import parse_instant, short_instant
from lib.differences import differences, since_text
from lib.files import read_json
from lib.journal import read_entries
from lib.layout import NOTEBOOKS, REPORT, Layout
from lib.manifest import FILE_NAME, Manifest
from lib.reconciliation import FATE_WORDS, reconciliation_line
from lib.rule_history import limit_text, value_text, worst_results

Verdict = Literal["PASSED", "PASSED WITH WARNINGS", "PASSED BY OVERRIDE", "FAILED", "RUNNING"]

MOST_NAMED = 6
"""Deliveries that are named one by one; of more, how many there are."""
UNTOUCHED = "Nothing was loaded: tables, metrics and watermark are as before."
CAUSE_WORDS = {
    "inserted": "inserted",
    "late": "of them late",
    "corrected": "corrected in place",
    "moved": "moved to another day",
    "removed": "removed",
    "deleted": "marked deleted",
    "restored": "came back",
}
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
        sentence=_sentence(manifest, rules),
        next_step=_next_step(manifest),
        use=_use(manifest, previous, before),
        facts=tuple(_facts(manifest)),
        reconciliation=reconciliation_line(counts),
        fates=tuple((words.strip(), counts[name]) for name, words in FATE_WORDS.items() if name in counts),
        reasons=tuple((manifest.get("reasons") or {}).items()),
        rules=rules,
        published=tuple(_published(manifest)),
        previous=previous["run_id"] if previous else None,
        since=tuple(since_text(differences(previous, manifest))) if previous else (),
        caveats=tuple(_caveats(manifest, rules)),
        notebooks=tuple((name, _how_it_went(manifest, name)) for name in NOTEBOOKS),
        sign_offs=tuple(_sign_offs(layout, run_id)),
    )


def verdict_of(manifest: dict[str, Any]) -> Verdict:
    """The words at the top."""
    if manifest.get("outcome") == "running":
        return "RUNNING"
    if manifest.get("outcome") != "loaded":
        return "FAILED"
    decision: Verdict = (manifest.get("gate") or {}).get("decision", "PASSED")
    return decision


def runs_before(layout: Layout, run_id: str, source: str) -> Iterator[dict[str, Any]]:
    """The manifests of the source's earlier runs, newest first; one that cannot be read is passed over."""
    for each in reversed(layout.run_ids()):
        if each >= run_id:
            continue
        try:
            manifest = read_json(layout.record(each) / FILE_NAME)
        except (OSError, ValueError):
            continue
        if isinstance(manifest, dict) and manifest.get("source") == source:
            yield manifest


def _sentence(manifest: dict[str, Any], rules: Iterable[RuleLine]) -> str:
    """What happened, in a line."""
    outcome, message = manifest.get("outcome"), manifest.get("message") or "no reason was noted"
    if outcome == "running":
        return "The run has not ended, or died and waits for the next run to close its record."
    if outcome == "held":
        stopped = [f"{each.rule} ({each.observed}, limit {each.limit}, {each.where})" for each in rules if _stops(each)]
        return f"The gate stopped the batch: {'; '.join(stopped) or message}"
    if outcome == "refused":
        return f"A delivery was refused as a whole: {message}"
    if outcome in ("failed", "interrupted"):
        stopped_in = next((name for name in NOTEBOOKS if _how_it_went(manifest, name) == "failed"), None)
        return f"{stopped_in or 'The run'} {'failed' if outcome == 'failed' else 'was interrupted'}: {message}"
    if outcome == "killed":
        return "The run died before it could end (killed, or the machine stopped); the next run closed its record."
    return _loaded_sentence(manifest)


def _loaded_sentence(manifest: dict[str, Any]) -> str:
    kind, counts = (manifest.get("batch") or {}).get("kind"), manifest.get("counts") or {}
    deliveries = len((manifest.get("batch") or {}).get("deliveries") or [])
    many = "1 delivery" if deliveries == 1 else f"{deliveries:,} deliveries"
    if kind == "repeat":
        return "Nothing new was delivered: the last loaded batch was read again, and changed no row."
    what = f"The tables were built again from {many}" if kind == "refresh" else f"{many} loaded"
    if not counts:
        return f"{what}."
    done = ", ".join(f"{counts[name]:,} {name}" for name in ("inserted", "updated", "unchanged"))
    return f"{what}: of its visits {done}; {counts['refused']:,} rows refused."


def _next_step(manifest: dict[str, Any]) -> str | None:
    """Of a run that did not load: what did not happen, and what to do. None for any other."""
    outcome, message = manifest.get("outcome"), manifest.get("message") or ""
    if outcome == "held":
        _, found, after = message.partition("Nothing was loaded; ")
        return f"{UNTOUCHED} {after[:1].upper() + after[1:] if found else 'Deliver a corrected file.'}"
    if outcome == "refused":
        return f"{UNTOUCHED} Have it delivered again, or mend the config: the next run looks at it again."
    if outcome in ("failed", "interrupted", "killed"):
        finished = manifest.get("finished") or []
        resumable = f", or go on after {finished[-1]} with --resume" if finished else ""
        log = f" Details are in the private log, logs/{manifest['run_id']}.log." if outcome == "failed" else ""
        return f"{UNTOUCHED} Run again{resumable}.{log}"
    return None


def _use(manifest: dict[str, Any], previous: dict[str, Any] | None, before: Iterable[dict[str, Any]]) -> str:
    """Whether the tables may be used, in a sentence."""
    verdict = verdict_of(manifest)
    if verdict == "PASSED":
        return "The tables may be used: every rule holds."
    if verdict == "PASSED WITH WARNINGS":
        return "The tables may be used by those who know the caveats below."
    if verdict == "PASSED BY OVERRIDE":
        return "A person let the batch pass a rule that it failed: use the tables only if you agree with the reason."
    earlier = [previous, *before] if previous else []
    last = next((each for each in earlier if each and each.get("outcome") == "loaded"), None)
    if last is None:
        return "No run of this source has loaded before: there are no tables to use yet."
    return f"The tables are those of run {last['run_id']}; they hold nothing of this batch."


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
        yield f"delivery {each['sequence']}", f"{name}, {each['bytes']:,} bytes, SHA-256 {each['sha256'][:12]}…"
    more = len((manifest.get("batch") or {}).get("deliveries") or []) - MOST_NAMED
    if more > 0:
        yield "deliveries", f"and {more:,} more, in the manifest"
    yield "who, where", f"{manifest['actor']} on {manifest['host']}"
    yield "when", f"{_instant(manifest['started'])} to {_instant(manifest.get('ended'), 'now')}"
    git = manifest["git"]
    commit = f"commit {git['commit'][:12]}" if git.get("commit") else "not in git: the manifest has each file's SHA-256"
    yield "code", f"{commit}{', with uncommitted changes' if git.get('dirty') else ''}; Python {_python(manifest)}"
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


def _stops(rule: RuleLine) -> bool:
    return rule.severity == "critical" and rule.holds == "NO"


def _published(manifest: dict[str, Any]) -> Iterator[str]:
    """What the run changed in what was published."""
    load = manifest.get("load")
    if not load:
        yield "Nothing that was published has changed."
        return
    new = load["days_touched"] - load["days_restated"]
    yield f"{_days(load['days_restated'])} published before changed, {_days(new)} newly published."
    told = [f"{count:,} {CAUSE_WORDS[cause]}" for cause, count in (load.get("visits") or {}).items() if count]
    if told:
        yield f"Visits: {', '.join(told)}."


def _caveats(manifest: dict[str, Any], rules: Iterable[RuleLine]) -> Iterator[str]:
    told = caveats(manifest)
    better = {TOLD_BY_CAVEAT.get(word) for word, _ in told}
    for each in rules:
        if each.holds in ("NO", "accepted") and each.rule not in better:
            done = " A person accepted that." if each.holds == "accepted" else ""
            yield f"{each.rule}: {each.observed}, limit {each.limit} ({each.where}).{done} {each.why}"
    for word, text in told:
        yield f"{word}: {text}"
    if manifest.get("behind"):
        yield behind_text(manifest["behind"])
    if manifest.get("waivers"):
        yield f"{manifest['waivers']:,} refused rows are let be for a time (waived)."
    if manifest.get("recovered"):
        lost = ", ".join(manifest.get("lost") or []) or "none"
        yield f"The record was closed or completed by a later run, not by its own; notebooks that were lost: {lost}."
    if manifest.get("outcome") == "loaded" and manifest.get("exit_code") == 8:
        yield "The tables are loaded, but the report was not complete when the run ended."
    if manifest["git"].get("dirty"):
        yield "The code had changes that were not committed: the manifest has each file's SHA-256, the commit has not."


def _how_it_went(manifest: dict[str, Any], name: str) -> str:
    """Of one notebook: ended well, failed, lost, not reached."""
    if name in (manifest.get("lost") or []):
        return "lost" if manifest.get("outcome") == "loaded" else "not reached"
    for each in manifest.get("notebooks") or []:
        if each["notebook"] == name:
            return "failed" if each["failure"] else "ended well"
    return "ended well" if name in (manifest.get("finished") or []) else "not reached"


def _sign_offs(layout: Layout, run_id: str) -> Iterator[str]:
    for each in read_entries(layout.decisions):
        if each.get("decision") == "sign" and each.get("run_id") == run_id:
            yield f"{each['meaning']} by {each['actor']} at {_instant(each['time'])}: {each['reason']}"


def _days(count: int) -> str:
    return f"{count:,} {'day' if count == 1 else 'days'}"


def _instant(text: Any, otherwise: str = "none") -> str:
    return short_instant(parse_instant(text).replace(microsecond=0)) if text else otherwise


def _python(manifest: dict[str, Any]) -> str:
    version: str = manifest["interpreter"]["version"]
    return version


def _exit(manifest: dict[str, Any]) -> str:
    return "unknown" if manifest.get("exit_code") is None else str(manifest["exit_code"])
