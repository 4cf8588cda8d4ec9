"""why and as-of: how the published metrics came to be what they are, told from `metric_changes`.

Every run that changes a day leaves its metrics before and after, and how many visits it inserted, corrected, moved.
"""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lib.clock import parse_instant, short_instant
from lib.counted import counted
from lib.disclosure import merge_small_periods, shown_cost
from lib.errors import TemporaryFailure, UsageError
from lib.layout import Layout
from lib.sql import statement
from lib.warehouse import reading

COLUMNS = {
    "visit_date": pa.date32(), "visit_count": pa.int64(), "patient_count": pa.int64(),
    "total_visit_cost": pa.decimal128(18, 2), "avg_visit_cost": pa.decimal128(18, 2), "missing_cost_count": pa.int64(),
}  # fmt: skip
COSTS = ("total_visit_cost", "avg_visit_cost")
WRITTEN_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet."""
MEASURES = ("patients", "total", "average", "without a cost")


@dataclass(frozen=True)
class Metrics:
    """A day's published metrics; a day without visits has zeros."""

    visits: int
    patients: int
    total_cents: int
    average_cents: int | None
    missing: int

    @property
    def costed(self) -> int:
        """Visits with a cost: those that total and average are of."""
        return self.visits - self.missing

    def hides(self, minimum: int) -> bool:
        """Whether a group that the measures are of is small: the visits, their patients, those with a cost."""
        groups = (self.visits, self.patients, self.costed)
        return any(0 < each < minimum for each in groups)


@dataclass(frozen=True)
class DayChange:
    """What one run did to one day. `causes`: visits by what happened to them, in words; `note`: why it ran so."""

    run_id: str
    source: str
    committed: str
    causes: dict[str, int]
    note: str | None
    before: Metrics
    after: Metrics

    @property
    def visits_changed(self) -> int:
        return sum(self.causes.values())


def changes_of_day(layout: Layout, day: str) -> list[DayChange]:
    """Every change of the day's metrics, oldest first; none for a day that was never published.

    Raises UsageError for what is no date.
    """
    checked = parse_day(day)
    with reading(layout) as connection:
        rows = connection.execute(statement("warehouse/published/changes_of_day"), {"day": checked}).fetchall()
    return [_change(dict(row)) for row in rows]


def parse_day(text: str) -> str:
    """`YYYY-MM-DD`. Raises UsageError."""
    try:
        if WRITTEN_DATE.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise UsageError("why: write a date like 2025-12-06.")


def metrics_as_of(layout: Layout, run_id: str) -> pd.DataFrame:
    """daily_visit_metrics as that run left it, in the types of `Run.daily()`. Grain: one row per visit_date.

    Raises UsageError for a run that never loaded.
    """
    with reading(layout) as connection:
        loaded = connection.execute("SELECT version FROM runs WHERE run_id = ?", [run_id]).fetchone()
        if loaded is None:
            raise UsageError("as-of: no run with this id was loaded; see python run_pipeline.py history.")
        rows = connection.execute(
            statement("warehouse/published/metrics_as_of"), {"version": loaded["version"]}
        ).fetchall()
    columns = {name: [_exact(name, row[name]) for row in rows] for name in COLUMNS}
    table = pa.table({name: pa.array(cells, COLUMNS[name]) for name, cells in columns.items()})
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def print_why(out: Console, layout: Layout, day: str, *, minimum: int, reveal: bool = False) -> None:
    """Each change of a day in two lines: who and why, then the metrics before and after. Small groups are not told."""
    changes = changes_of_day(layout, day)
    if not changes:
        out.print(f"{day} was never published: no run has changed its metrics")
    for line in change_lines(changes, 1 if reveal else minimum):
        out.print(Text(line), soft_wrap=True)


def change_lines(changes: list[DayChange], minimum: int) -> list[str]:
    """The changes of a day, oldest first, as text: two lines each.

    Patients, costs and averages only where both sides and what came between them are large enough: the difference of
    two sums is what the visits between them cost. So the side before is not told after a change that was not.
    """
    lines, before_is_told = [], True
    for change in changes:
        # Beside two counts of visits that are told, the number between them is no secret.
        is_small_day = any(0 < side.visits < minimum for side in (change.before, change.after))
        least = minimum if is_small_day else 1
        causes = ", ".join(f"{_count(count, least)} {cause}" for cause, count in change.causes.items())
        told = " · ".join(each for each in (change.note, causes) if each) or "the metrics were put right"
        lines.append(f"{change.run_id}  {short_instant(parse_instant(change.committed))}  {change.source}: {told}")
        visits = f"    visits {_count(change.before.visits, minimum)} → {_count(change.after.visits, minimum)}"
        if _is_small(change, minimum):
            lines.append(f"{visits}; the rest is not told: fewer than {minimum} visits, patients or changes")
            before_is_told = False
            continue
        sides = zip(_measures(change.before), _measures(change.after), MEASURES, strict=True)
        texts = [f"{name} {old if before_is_told else 'not told'} → {new}" for old, new, name in sides]
        lines.append("; ".join([visits, *texts]))
        before_is_told = True
    return lines


def print_as_of(out: Console, frame: pd.DataFrame, run_id: str, minimum: int) -> None:
    """The table in periods of which none is small, costs to three digits, as everywhere on a terminal."""
    out.print(Text(f"daily_visit_metrics as run {run_id} left it: {counted(len(frame), 'day')}"), soft_wrap=True)
    if frame.empty:
        return
    rows = pd.DataFrame(
        {
            "day": pd.to_datetime(frame["visit_date"].astype(str)),
            "visits": frame["visit_count"].astype("int64"),
            "with_cost": (frame["visit_count"] - frame["missing_cost_count"]).astype("int64"),
            "cents": (frame["total_visit_cost"] * 100).astype("int64"),
        }
    )
    merged = merge_small_periods(rows, minimum, ["visits", "with_cost"])
    table = Table(box=None, padding=(0, 1))
    for name in ("period", "days", "visits", "visits with a cost", "total cost"):
        table.add_column(name, justify="left" if name == "period" else "right")
    for each in merged.to_dict("records"):
        cost = shown_cost(each["cents"], each["with_cost"], minimum)
        cells = (each["period"], each["days"], f"{each['visits']:,}", f"{each['with_cost']:,}", cost)
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in cells))
    out.print(table)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """The exact rows as CSV, 0600, in a new file. Raises UsageError when the file is there, or its folder is not."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in frame.itertuples(index=False):
        writer.writerow(["" if pd.isna(cell) else safe_cell(str(cell)) for cell in row])
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"--to {path.name}: is there already; name a new file.") from None
    except OSError as error:
        raise UsageError(f"--to {path.name}: cannot be made ({os.strerror(error.errno or 0)}).") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text.getvalue())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise TemporaryFailure(f"--to {path.name}: cannot be written ({os.strerror(error.errno or 0)}).") from None


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(DANGEROUS) else text


def _change(row: dict[str, Any]) -> DayChange:
    causes = {
        "new": row["visits_inserted"] - row["visits_late"],
        "late": row["visits_late"],
        "corrected": row["visits_corrected"],
        "moved in": row["visits_moved_in"],
        "moved out": row["visits_moved_out"],
        "deleted": row["visits_deleted"],
        "restored": row["visits_restored"],
        "removed": row["visits_removed"],
    }
    return DayChange(
        run_id=row["run_id"],
        source=row["source"],
        committed=row["committed"],
        causes={cause: count for cause, count in causes.items() if count},
        note=_note(row),
        before=_metrics(row, "before"),
        after=_metrics(row, "after"),
    )


def _note(row: dict[str, Any]) -> str | None:
    """Of a full refresh: whether it was made under other rules than the run before it."""
    if row["batch"] != "refresh":
        return None
    changed = row["rules"] and row["rules_before"] and row["rules"] != row["rules_before"]
    return "full refresh, rule change" if changed else "full refresh"


def _metrics(row: dict[str, Any], side: str) -> Metrics:
    return Metrics(
        visits=row[f"visit_count_{side}"] or 0,
        patients=row[f"patient_count_{side}"] or 0,
        total_cents=row[f"total_visit_cost_cents_{side}"] or 0,
        average_cents=row[f"avg_visit_cost_cents_{side}"],
        missing=row[f"missing_cost_count_{side}"] or 0,
    )


def _is_small(change: DayChange, minimum: int) -> bool:
    """Whether a group is small: on a side, or among the visits that changed, or those of them that have a cost."""
    costed = abs(change.after.costed - change.before.costed)
    few = change.visits_changed < minimum or 0 < costed < minimum
    return minimum > 1 and (few or change.before.hides(minimum) or change.after.hides(minimum))


def _measures(metrics: Metrics) -> tuple[str, ...]:
    costs = (_money(metrics.total_cents), _money(metrics.average_cents))
    return f"{metrics.patients:,}", *costs, f"{metrics.missing:,}"


def _count(count: int, minimum: int) -> str:
    return f"fewer than {minimum}" if 0 < count < minimum else f"{count:,}"


def _money(cents: int | None) -> str:
    return "none" if cents is None else f"{Decimal(cents).scaleb(-2):,.2f}"


def _exact(name: str, value: Any) -> Any:
    if name == "visit_date":
        return date.fromisoformat(value)
    return Decimal(value).scaleb(-2) if name in COSTS and value is not None else value
