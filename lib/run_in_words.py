"""How a run ended, in words: the verdict, what happened, what to do, are the tables fit for use, what to bear in mind.

Everything is said as of the run's end, from its manifest; nothing of a row is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from lib.caveats import behind_text, caveats
from lib.clock import parse_instant, short_instant
from lib.counted import counted
from lib.layout import NOTEBOOKS

Verdict = Literal["PASSED", "PASSED WITH WARNINGS", "PASSED BY OVERRIDE", "FAILED", "RUNNING"]

UNTOUCHED = "Nothing was loaded: tables, metrics and watermark stayed as they were."
COMMAND = "python run_pipeline.py"
CLOCK_HOURS = 1
"""A run's clock that is further from the machine's was set by hand, and freshness judged by it."""
CAUSE_WORDS = {
    "inserted": "inserted",
    "late": "of them late",
    "corrected": "corrected in place",
    "moved": "moved to another day",
    "removed": "removed",
    "deleted": "marked deleted",
    "restored": "came back",
}


def verdict_of(manifest: dict[str, Any]) -> Verdict:
    """The words at the top."""
    if manifest.get("outcome") == "running":
        return "RUNNING"
    if manifest.get("outcome") != "loaded":
        return "FAILED"
    decision: Verdict = (manifest.get("gate") or {}).get("decision", "PASSED")
    return decision


def sentence(manifest: dict[str, Any], stopped_by: Iterable[str]) -> str:
    """What happened, in a line. `stopped_by`: the critical rules that held the batch, with what was observed."""
    outcome, message = manifest.get("outcome"), manifest.get("message") or "no reason was noted"
    if outcome == "running":
        return "The run has not ended, or died and waits for the next run to close its record."
    if outcome == "held":
        return f"The gate stopped the batch: {'; '.join(stopped_by) or message}"
    if outcome == "refused":
        return f"A delivery was refused as a whole: {message}"
    if outcome in ("failed", "interrupted"):
        stopped_in = next((name for name in NOTEBOOKS if how_it_went(manifest, name) == "failed"), None)
        return f"{stopped_in or 'The run'} {'failed' if outcome == 'failed' else 'was interrupted'}: {message}"
    if outcome == "killed":
        finished = manifest.get("finished") or []
        where = f"after {finished[-1]} had ended well" if finished else "in its first notebook"
        return f"The run died {where}, before the next one did: it was killed, or the machine stopped."
    return _loaded_sentence(manifest)


def next_step(manifest: dict[str, Any]) -> str | None:
    """Of a run that did not load: what did not happen, and what to do. None for any other."""
    outcome, message = manifest.get("outcome"), manifest.get("message") or ""
    if outcome == "held":
        _, found, after = message.partition("Nothing was loaded; ")
        after = after.replace("--accept", f"{COMMAND} --accept", 1)
        return f"{UNTOUCHED} {after[:1].upper() + after[1:] if found else 'Deliver a corrected file.'}"
    if outcome == "refused":
        return f"{UNTOUCHED} Have it delivered again, or mend the config: the next run looks at it again."
    if outcome in ("failed", "interrupted", "killed"):
        finished = manifest.get("finished") or []
        resumable = f", or go on after {finished[-1]}: {COMMAND} --resume" if finished else ""
        log = f" Details are in the private log, logs/{manifest['run_id']}.log." if outcome == "failed" else ""
        return f"{UNTOUCHED} Run again: {COMMAND}{resumable}.{log}"
    return None


def use(manifest: dict[str, Any], earlier: Iterable[dict[str, Any]]) -> str:
    """Whether the tables may be used, in a sentence. `earlier`: the source's runs before, newest first."""
    verdict = verdict_of(manifest)
    if verdict == "PASSED BY OVERRIDE":
        options = manifest["options"]
        return (
            f"{manifest['actor']} let this batch pass {' and '.join(options['accept'])}: {options['reason']}. Use the "
            "tables only if you agree with that."
        )
    if verdict == "RUNNING":
        return "Wait for its end."
    if verdict != "FAILED":
        holds = "This batch holds every rule that had something to judge. " if verdict == "PASSED" else ""
        mind = verdict != "PASSED" or manifest.get("standing_overrides")
        return f"{holds}The tables may be used{', bearing in mind what is told below' if mind else ''}."
    last = next((each for each in earlier if each.get("outcome") == "loaded"), None)
    if last is None:
        return "No run of this source had loaded before: there were no tables to use when it ended."
    return f"When it ended, the tables were those of run {last['run_id']}; they held nothing of this batch."


def published(manifest: dict[str, Any]) -> Iterator[str]:
    """What the run changed in what was published."""
    load = manifest.get("load")
    if not load or not load["days_touched"]:
        yield "Nothing that was published has changed."
        return
    new = load["days_touched"] - load["days_restated"]
    yield f"{counted(load['days_restated'], 'day')} published before changed, {counted(new, 'day')} newly published."
    told = [f"{count:,} {CAUSE_WORDS[cause]}" for cause, count in (load.get("visits") or {}).items() if count]
    if told:
        yield f"Visits: {', '.join(told)}. By period, before and after: 05 · Analytics, Days restated."


def standing_overrides(before: dict[str, Any] | None) -> list[str]:
    """The earlier runs that a person let pass and whose batches are in the tables: `before` is the run before."""
    if before is None:
        return []
    overridden = [before["run_id"]] if verdict_of(before) == "PASSED BY OVERRIDE" else []
    return [*(before.get("standing_overrides") or []), *overridden]


def to_bear_in_mind(manifest: dict[str, Any]) -> Iterator[str]:
    """What a reader must know beside the rules that do not hold."""
    if manifest.get("outcome") == "loaded":
        yield from _standing(manifest)
    for word, text in caveats(manifest):
        yield f"{word}: {text}"
    counts = manifest.get("counts") or {}
    if known := counts.get("known_refused"):
        yield f"{known:,} of the refused rows were refused before with the same text: limits count only new ones."
    if manifest.get("behind"):
        yield behind_text(manifest["behind"])
    if manifest.get("waivers"):
        yield f"{counted(manifest['waivers'], 'refused row is', 'refused rows are')} let be for a time (waived)."
    if manifest.get("recovered"):
        lost = manifest.get("lost") if manifest.get("outcome") == "loaded" else None
        yield "The record was closed or completed by a later run, not by its own." + (
            f" Lost: the notebooks {', '.join(lost)}." if lost else ""
        )
    if manifest.get("outcome") == "loaded" and manifest.get("exit_code") == 8:
        yield "The tables are loaded, but the report was not complete when the run ended."
    if manifest["git"].get("dirty"):
        yield "The code was not that commit alone: files had changed. Its fingerprint stands for what really ran."
    as_of, started = parse_instant(manifest["as_of"]), parse_instant(manifest["started"])
    if abs((started - as_of).total_seconds()) > CLOCK_HOURS * 3600:
        told = short_instant(started.replace(microsecond=0))
        yield f"The run's clock was set to {short_instant(as_of)} when it was {told}: freshness was judged by it."


def how_it_went(manifest: dict[str, Any], name: str) -> str:
    """Of one notebook: ended well, failed, lost, not reached."""
    if name in (manifest.get("lost") or []):
        return "lost" if manifest.get("outcome") == "loaded" else "not reached"
    for each in manifest.get("notebooks") or []:
        if each["notebook"] == name:
            return "failed" if each["failure"] else "ended well"
    return "ended well" if name in (manifest.get("finished") or []) else "not reached"


def _standing(manifest: dict[str, Any]) -> Iterator[str]:
    """What the tables stand with, whichever run brought it."""
    load = manifest.get("load") or {}
    if before := manifest.get("standing_overrides"):
        yield f"Batches that a person let pass earlier are in the tables: run {', '.join(before)}."
    if waiting := load.get("quarantine_open"):
        yield f"{counted(waiting, 'refused row')} of all runs so far in the quarantine: in no table."
    if missing := load.get("visits_without_cost"):
        yield f"{missing:,} of {load['visits_counted']:,} visits in the tables have no cost; totals are of the others."


def _loaded_sentence(manifest: dict[str, Any]) -> str:
    kind, counts = (manifest.get("batch") or {}).get("kind"), manifest.get("counts") or {}
    deliveries = len((manifest.get("batch") or {}).get("deliveries") or [])
    many = counted(deliveries, "delivery", "deliveries")
    if kind == "repeat":
        return "Nothing new was delivered: the last loaded batch was read again, and changed no row."
    what = f"The tables were built again from {many}" if kind == "refresh" else f"{many} loaded"
    if not counts:
        return f"{what}."
    done = ", ".join(f"{counts[name]:,} {name}" for name in ("inserted", "updated", "unchanged"))
    return f"{what}: of its visits {done}; {counted(counts['refused'], 'row')} refused."
