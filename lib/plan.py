"""plan: what the next run would do, exactly, found out by doing it on a copy. Nothing of the data folder is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lib.analytics import restated_days
from lib.caveats import behind_text, caveats, in_columns
from lib.clock import short_instant, stored_instant
from lib.config import Settings
from lib.counted import counted
from lib.errors import DeliveryRefused, GateFailed
from lib.extract import BATCH_WORDS, run_batch
from lib.files import read_json
from lib.gate import GateResult, RuleResult
from lib.layout import REPORT, Layout
from lib.reconciliation import FATE_WORDS, reconciliation_line
from lib.rehearsal import copy_warehouse, rehearse, scratch_layout
from lib.run import Options, Run
from lib.terminal import window_text
from lib.warehouse import reading

EFFECTS = (
    "inserted", "late", "corrected", "moved_in", "moved_out", "deleted", "restored", "removed",
)  # fmt: skip
"""What can happen to a day's visits; `late` ones are among the inserted."""


@dataclass(frozen=True)
class Plan:
    """What a run begun now would do. Counts are rows; `changes` has the rows of metric_changes that it would write.

    `exit_code` is what the run would end with: 0, 3 (a delivery would be refused) or 4 (the gate would fail).
    """

    exit_code: int
    message: str | None
    source: str
    window: str
    as_of: datetime
    batch: str
    behind: str | None
    counts: dict[str, int]
    reasons: dict[str, int]
    gate: GateResult | None
    changes: tuple[dict[str, Any], ...]
    periods: pd.DataFrame
    watermark_before: datetime | None
    watermark_after: datetime | None
    caveats: tuple[str, ...]

    @property
    def days_restated(self) -> int:
        """Days that would change and were published before."""
        return sum(each["visit_count_before"] is not None for each in self.changes)

    def visits(self, effect: str) -> int:
        """Visits with this effect, over all days."""
        return sum(each[f"visits_{effect}"] for each in self.changes)


def plan_run(layout: Layout, settings: Settings, *, as_of: str | None, options: Options) -> Plan:
    """Do the next run on a copy. Raises PipelineError for what would stop the run before it begins."""
    with scratch_layout(layout) as scratch:
        copy_warehouse(layout, scratch)
        here = settings.model_copy(update={"warehouse": scratch.url})
        run = Run.begin(here, data_dir=scratch.data_dir, as_of=as_of, options=options)
        exit_code, message = 0, None
        try:
            rehearse(run)
        except (DeliveryRefused, GateFailed) as stopped:
            exit_code, message = stopped.exit_code, str(stopped)
        return _planned(run, exit_code, message)


def print_plan(out: Console, plan: Plan) -> None:
    """The plan, in the order in which a run does its work. Nothing row-level; periods with few visits are merged."""
    lines = [
        *([plan.behind] if plan.behind else []),
        f"plan of a run of {plan.source}, as of {short_instant(plan.as_of)}, window {plan.window}; nothing is written",
        f"batch      {plan.batch}",
    ]
    for line in lines:
        out.print(Text(line), soft_wrap=True)
    if plan.counts:
        out.print(_pairs({words: plan.counts[name] for name, words in FATE_WORDS.items()}))
        if plan.reasons:
            out.print(Text(f"refusals by reason ({plan.counts['known_refused']:,} of the rows were refused before)"))
            out.print(_pairs(plan.reasons))
        out.print(Text(reconciliation_line(plan.counts)), soft_wrap=True)
    if plan.gate:
        out.print(_table(plan.gate.frame().astype(str)))
        out.print(Text(f"gate       {plan.gate.summary}"), soft_wrap=True)
    for line in _outcome(plan):
        out.print(Text(line), soft_wrap=True)
    if len(plan.periods):
        out.print(_table(plan.periods.astype(str)))
    if plan.message:
        out.print(Text(plan.message), soft_wrap=True)
    out.print(Text(f"outcome    the run would {_ending(plan.exit_code)}"))


def _planned(run: Run, exit_code: int, message: str | None) -> Plan:
    manifest = run.manifest
    with reading(run.layout) as connection:
        rows = connection.execute("SELECT * FROM metric_changes WHERE run_id = ?", [run.run_id]).fetchall()
        restated = restated_days(connection, run.run_id, run.settings.min_group_size)
    columns = {"period": "period", "days_changed": "days changed", "visits_before": "before", "visits_after": "after"}
    before = stored_instant(manifest["committed_watermark"])
    after = (manifest.get("load") or {"watermark_after": manifest["committed_watermark"]})["watermark_after"]
    return Plan(
        exit_code=exit_code,
        message=message,
        source=run.source,
        window=window_text(run),
        as_of=run.as_of,
        batch=_batch_words(run),
        behind=behind_text(manifest["behind"]) if manifest.get("behind") else None,
        counts=run.counts,
        reasons=dict(manifest.get("reasons", {})),
        gate=_gate(run),
        changes=tuple(dict(row) for row in rows),
        periods=restated[list(columns)].rename(columns=columns),
        watermark_before=before,
        watermark_after=stored_instant(after),
        caveats=tuple(in_columns(caveats(manifest.content))),
    )


def _gate(run: Run) -> GateResult | None:
    """The gate's result from its report, which is there whether the gate passed or not."""
    path = run.record / REPORT
    if not path.exists():
        return None
    report = read_json(path)
    rules = tuple(
        RuleResult(rule=each["id"], **{k: v for k, v in each.items() if k != "id"}) for each in report["rules"]
    )
    return GateResult(rules, report["deliveries_judged"], report["staged_rows"], report["staged_rows_judged"])


def _batch_words(run: Run) -> str:
    if not run.manifest.get("batch"):
        return "none"
    batch = run_batch(run)
    names = sorted({each.name for each in batch.deliveries})
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    count = len(batch.deliveries)
    return f"{batch.kind} ({BATCH_WORDS[batch.kind]}): {counted(count, 'delivery', 'deliveries')}, {shown}"


def _outcome(plan: Plan) -> list[str]:
    if plan.exit_code:
        return []
    effects = ", ".join(f"{plan.visits(each):,} {each.replace('_', ' ')}" for each in EFFECTS)
    before, after = (short_instant(each) if each else "none" for each in (plan.watermark_before, plan.watermark_after))
    return [
        f"tables     {counted(len(plan.changes), 'day')} would change, {plan.days_restated:,} of them published before",
        f"visits     {effects}",
        f"watermark  {before} → {after}",
        *plan.caveats,
    ]


def _ending(exit_code: int) -> str:
    endings = {0: "load", 3: "refuse the delivery, exit 3", 4: "hold the delivery, exit 4"}
    return endings[exit_code]


def _pairs(counts: dict[str, int]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2))
    for words, rows in counts.items():
        table.add_row(words, Text(f"{rows:,}", justify="right"))
    return table


def _table(frame: pd.DataFrame) -> Table:
    table = Table(box=None, padding=(0, 1))
    for name in frame.columns:
        table.add_column(str(name), no_wrap=True)
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in row))
    return table
