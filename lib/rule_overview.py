"""The gate's rules over time, for the terminal: every rule in a line, or one rule's values and limits run by run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lib.counted import counted
from lib.errors import UsageError
from lib.layout import Layout
from lib.rule_history import RuleHistory, RulePoint, holds_text, limit_text, rule_history, value_text
from lib.run_records import newest_records
from lib.terminal import consoles

BLOCKS = "▁▂▃▄▅▆▇"
FAILED, NOT_JUDGED = "█", "·"
LEGEND = f"{BLOCKS[0]} little to {BLOCKS[-1]} all of the limit used, {FAILED} failed, {NOT_JUDGED} nothing to judge"


def print_rules(layout: Layout, rule: str | None, limit: int) -> None:
    """Print a line a rule, or a line a run of one `rule`, of the newest `limit` runs. Raises UsageError for a rule that
    no run was judged by."""
    out, _ = consoles()
    found = rule_history(newest_records(layout))
    if not found:
        out.print("no run has reached the gate yet" if layout.run_ids() else "no run yet; run python run_pipeline.py")
        return
    if rule is None:
        for source in _sources(found):
            _print_all(out, source, [each.of_source(source) for each in found], limit)
        return
    named = next((each for each in found if each.rule == rule), None)
    if named is None:
        raise UsageError(
            f"--rules {rule}: no run was judged by it; rules are {', '.join(each.rule for each in found)}."
        )
    _print_one(out, named, limit)


def trend(rule: RuleHistory, run_ids: Sequence[str]) -> str:
    """A character a run: how much of its limit the rule used, whether it failed, or that there was nothing to judge;
    a blank where the run's suites had no such rule."""
    points = {each.run_id: each for each in rule.points}
    return "".join(_block(points[each]) if each in points else " " for each in run_ids)


def _print_all(out: Console, source: str, rules: list[RuleHistory], limit: int) -> None:
    runs = sorted({point.run_id for each in rules for point in each.points})
    out.print(Text(f"{source}: {counted(len(runs), 'run')} judged, {runs[0]} to {runs[-1]}"), soft_wrap=True)
    table = Table(box=None, padding=(0, 1))
    for name in ("rule", "severity", "judged", "failed", "accepted", "last", "limit", f"newest {limit}"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("judged", "failed", "accepted") else "left")
    for each in rules:
        if not each.points:
            continue
        last = each.points[-1]
        counts = (len(each.judged), len(each.failed), len(each.overridden))
        numbers = (value_text(last.observed, each.unit), limit_text(last.comparison, last.threshold, each.unit))
        cells = (each.rule, each.severity, *(f"{count:,}" for count in counts), *numbers, trend(each, runs[-limit:]))
        table.add_row(*map(Text, cells))
    out.print(table)
    out.print(Text(LEGEND), soft_wrap=True)


def _print_one(out: Console, rule: RuleHistory, limit: int) -> None:
    out.print(Text(f"{rule.rule} ({rule.severity}): {rule.reason}"), soft_wrap=True)
    table = Table(box=None, padding=(0, 1))
    for name in ("run", "source", "observed", "limit", "holds", "scope", "outcome", ""):
        table.add_column(name, no_wrap=True, justify="right" if name == "observed" else "left")
    for each in rule.points[-limit:]:
        cells = (
            each.run_id,
            each.source,
            value_text(each.observed, rule.unit),
            limit_text(each.comparison, each.threshold, rule.unit),
            holds_text(each.observed, each.passed, each.overridden),
            each.scope,
            each.outcome,
            _block(each),
        )
        table.add_row(*map(Text, cells))
    out.print(table)
    failed, accepted = len(rule.failed), len(rule.overridden)
    how = f"it failed in {failed:,}" if failed else "it never failed"
    told = f"{counted(len(rule.judged), 'run')} judged by it; {how}"
    out.print(Text(told + (f", accepted in {accepted:,} of them" if accepted else "")), soft_wrap=True)


def _sources(rules: Iterable[RuleHistory]) -> list[str]:
    return sorted({point.source for each in rules for point in each.points})


def _block(point: RulePoint) -> str:
    used = point.used
    if used is None:
        return NOT_JUDGED
    return BLOCKS[min(int(used * len(BLOCKS)), len(BLOCKS) - 1)] if point.passed else FAILED
