"""data/runs/index.html: every run in a line, and how volume, refusals, lateness, duration and each rule went over time.

Made of the records and the journal alone, without the warehouse; light, as it is made again at the end of every run. A
record that cannot be read is a line that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.clock import parse_instant, short_instant, stored_instant
from lib.decisions import sign_offs
from lib.errors import PipelineError
from lib.layout import Layout
from lib.page import write_page
from lib.rule_history import RuleHistory, limit_text, rule_history, value_text
from lib.run_in_words import verdict_of
from lib.run_records import RunRecord, newest_records
from lib.trends import MOST_RUNS, Reading, Trend, draw_trend

FILE_NAME = "index.html"
PAGE = "report.html"


@dataclass(frozen=True)
class RunLine:
    """One run as text; numbers for the pictures. `page` is whether it has one."""

    run_id: str
    page: bool
    verdict: str
    source: str = ""
    outcome: str = "unreadable"
    batch: str = ""
    rows: tuple[str, ...] = ("", "", "", "")
    gate: str = ""
    watermark: str = ""
    duration: str = ""
    signed: str = ""
    volume: float | None = None
    refused_share: float | None = None
    lookback_needed: float | None = None
    lookback: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class RuleTrend:
    """One rule over the runs of a source, as text and picture."""

    rule: str
    severity: str
    trend: Trend
    limit: str
    failed: str


@dataclass(frozen=True)
class SourceTrends:
    """How the runs of one source went over time."""

    source: str
    trends: tuple[tuple[str, Trend], ...]
    rules: tuple[RuleTrend, ...]


def write_index(layout: Layout) -> Path:
    """Write the index of all runs beside their records and return its path."""
    signed: dict[str, list[str]] = {}
    for each in sign_offs(layout):
        signed.setdefault(each.run_id, []).append(each.text)
    lines: list[RunLine] = []

    def noted(records: Iterable[RunRecord]) -> Iterator[RunRecord]:
        """Each record is looked at once, for its line and for its rules."""
        for record in records:
            lines.append(_line(record, signed))
            yield record

    rules = rule_history(noted(newest_records(layout)))
    by_source: dict[str, list[RunLine]] = {}
    for line in reversed(lines):
        by_source.setdefault(line.source, []).append(line)
    return write_page(
        layout.runs / FILE_NAME,
        "index.html.j2",
        lines=lines,
        sources=[_over_time(source, by_source[source], rules) for source in sorted(by_source) if source],
    )


def _line(record: RunRecord, signed: dict[str, list[str]]) -> RunLine:
    page = (record.folder / PAGE).is_file()
    try:
        return _readable(record.run_id, page, record.manifest, ", ".join(signed.get(record.run_id, [])))
    except (ValueError, PipelineError, AttributeError, KeyError, TypeError):  # damaged, or not there yet
        return RunLine(record.run_id, page, "UNREADABLE")


def _readable(run_id: str, page: bool, manifest: dict[str, Any], signed: str) -> RunLine:
    counts, load = manifest.get("counts") or {}, manifest.get("load") or {}
    read, watermark = counts.get("rows_read"), stored_instant(load.get("watermark_after"))
    seconds = None
    if manifest.get("ended") and not manifest.get("recovered"):  # a later run's repair is no duration
        seconds = (parse_instant(manifest["ended"]) - parse_instant(manifest["started"])).total_seconds()
    how = [word for word, told in (("resumed", "attempts"), ("recovered", "recovered")) if manifest.get(told)]
    names = ("rows_read", "staged", "refused", "outside_missed")
    return RunLine(
        run_id=run_id,
        page=page,
        verdict=verdict_of(manifest),
        source=manifest["source"],
        outcome=", ".join([manifest["outcome"], *how]),
        batch=(manifest.get("batch") or {}).get("kind", ""),
        rows=tuple(f"{counts[name]:,}" if name in counts else "" for name in names),
        gate=_told(manifest),
        watermark=short_instant(watermark.replace(microsecond=0)).removesuffix("+00:00") if watermark else "",
        duration=_duration(seconds) if seconds is not None else "",
        signed=signed,
        volume=read,
        refused_share=counts["refused"] / read if read else None,
        lookback_needed=load.get("covering_lookback_hours"),
        lookback=manifest["window"]["lookback_hours"] if load.get("covering_lookback_hours") is not None else None,
        seconds=seconds,
    )


def _told(manifest: dict[str, Any]) -> str:
    """The gate's summary without the decision before it, which is the verdict's."""
    gate = manifest.get("gate")
    summary: str = gate["summary"] if gate else "not reached"
    return summary.partition(": ")[2] or summary


def _over_time(source: str, lines: Sequence[RunLine], rules: Iterable[RuleHistory]) -> SourceTrends:
    drawn = lines[-MOST_RUNS:]

    def trend(what: str, values: list[float | None], text: Any, limits: list[float | None] | None = None) -> Trend:
        bad = [each.verdict == "FAILED" for each in drawn]
        limited = limits or [None] * len(drawn)
        readings = [Reading(*each) for each in zip(values, bad, limited, strict=True)]
        return draw_trend(what, readings, text, bad="of them failed")

    hours = trend(
        "Hours of lookback that cover 99.9 % of all lateness seen (dashed: those in use)",
        [each.lookback_needed for each in drawn],
        lambda value: f"{value:,.0f} h",
        [each.lookback for each in drawn],
    )
    own = (each.of_source(source) for each in rules)
    return SourceTrends(
        source,
        (
            ("Rows read", trend("Rows read", [each.volume for each in drawn], lambda value: f"{value:,.0f}")),
            ("Refused", trend("Share of rows refused", [each.refused_share for each in drawn], _percent)),
            ("Lateness: lookback needed", hours),
            ("Duration", trend("Duration", [each.seconds for each in drawn], _duration)),
        ),
        tuple(_rule(each) for each in own if each.points),
    )


def _rule(history: RuleHistory) -> RuleTrend:
    drawn = history.points[-MOST_RUNS:]
    readings = [Reading(each.observed, not each.passed, each.threshold) for each in drawn]
    newest = history.points[-1]
    accepted = f", {len(history.overridden):,} accepted" if history.overridden else ""
    return RuleTrend(
        history.rule,
        history.severity,
        draw_trend(
            history.rule,
            readings,
            lambda value: value_text(value, history.unit),
            bad="times it did not hold",
            width=128,
            height=24,
        ),
        limit_text(newest.comparison, newest.threshold, history.unit),
        f"{len(history.failed):,} of {len(history.judged):,}{accepted}",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"
