"""diff: two runs held against each other, by what their records say, what they published and what their notebooks show.

What only tells when it was, and which run, is no difference: the same delivery run twice differs in nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from lib.counted import counted
from lib.differences import differences
from lib.errors import StoredDataChanged, UsageError
from lib.files import read_json
from lib.first_screen import runs_before
from lib.layout import NOTEBOOKS, REPORT, Layout
from lib.manifest import Manifest
from lib.notebook_diff import OwnWords, compare_notebooks
from lib.published import metrics_as_of
from lib.rule_history import limit_text, value_text
from lib.store.place import told

MOST_DAYS = 12
RULE = ("observed", "threshold", "passed", "overridden")
FACTS = {
    "outcome": ("outcome",),
    "batch": ("batch", "kind"),
    "gate": ("gate", "decision"),
    "watermark before": ("window", "watermark"),
    "cutoff": ("window", "cutoff"),
    "watermark after": ("load", "watermark_after"),
    "newest stamp loaded": ("newest_loaded",),
    "days touched": ("load", "days_touched"),
    "days restated": ("load", "days_restated"),
    "message": ("message",),
}
"""What is held against each other by itself, and where it stands in the manifest."""


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    layout: Layout
    run_id: str
    manifest: dict[str, Any]
    rules: list[dict[str, Any]]
    own: OwnWords

    @classmethod
    def at(cls, layout: Layout, run_id: str) -> Side:
        """Raises UsageError for a run that has not ended, and as `Manifest.read`; StoredDataChanged for a gate's report
        that cannot be read."""
        manifest = Manifest.read(layout.record(run_id)).content
        if not manifest.get("ended"):
            raise UsageError(f"diff: run {run_id} has not ended.")
        rules = (_read_json(layout, run_id, REPORT) or {}).get("rules", [])
        before = next(runs_before(layout, run_id, manifest["source"]), {})
        own = OwnWords.of(manifest, told(layout.place), before, rules)
        warehouse = Layout.at(layout.data_dir, manifest["config"].get("warehouse"))
        return cls(warehouse, run_id, manifest, rules, own)


def _read_json(layout: Layout, run_id: str, name: str) -> Any:
    """A JSON file of the record; None where the run did not come so far. Raises StoredDataChanged."""
    path = layout.record(run_id) / name
    try:
        return read_json(path) if path.exists() else None
    except ValueError:
        raise StoredDataChanged(f"runs/{run_id}/{name}: is not JSON any more; see verify.") from None


def diff_runs(before: Side, after: Side) -> list[str]:
    """What differs, a line each, by kind; none for two runs that are alike."""
    return [
        *_circumstances(before, after),
        *_facts(before, after),
        *_deliveries(before, after),
        *_counts(before, after),
        *_rules(before, after),
        *_metrics(before, after),
        *_notebooks(before, after),
    ]


def print_diff(out: Console, before: Side, after: Side) -> bool:
    """Print what differs, the first run's on the left; whether anything does."""
    lines = diff_runs(before, after)
    for line in lines or [f"{before.run_id} and {after.run_id}: no difference"]:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    return bool(lines)


def _circumstances(before: Side, after: Side) -> Iterator[str]:
    if before.manifest["source"] != after.manifest["source"]:
        yield f"source: {before.manifest['source']} → {after.manifest['source']}"
    for each in differences(before.manifest, after.manifest):
        yield f"{each.kind}: {each.text}" if each.kind != "commit" else each.text


def _facts(before: Side, after: Side) -> Iterator[str]:
    for name, path in FACTS.items():
        old, new = (_told(side, path) for side in (before, after))
        if old != new:
            yield f"{name}: {old} → {new}"


def _told(side: Side, path: tuple[str, ...]) -> str:
    value: Any = side.manifest
    for name in path:
        value = (value or {}).get(name)
    return "none" if value is None else side.own.without(str(value))


def _deliveries(before: Side, after: Side) -> Iterator[str]:
    """By path and content, in the order they were read."""
    old, new = (_read(side) for side in (before, after))
    for sign, some, others in (("only in the first", old, new), ("only in the second", new, old)):
        for path, sha256 in some:
            if (path, sha256) not in others:
                yield f"delivery: {Path(path).name} ({sha256[:12]}) {sign}"
    if old != new and sorted(old) == sorted(new):
        yield "delivery: the same ones in another order"


def _read(side: Side) -> list[tuple[str, str]]:
    return [(each["path"], each["sha256"]) for each in (side.manifest.get("batch") or {}).get("deliveries") or ()]


def _counts(before: Side, after: Side) -> Iterator[str]:
    sections = {"rows": "counts", "reason": "reasons", "visits": "load"}
    for kind, section in sections.items():
        old, new = (each.manifest.get(section) or {} for each in (before, after))
        if section == "load":
            old, new = old.get("visits") or {}, new.get("visits") or {}
        for name in dict.fromkeys([*old, *new]):
            if old.get(name, 0) != new.get(name, 0):
                yield f"{kind}: {name.replace('_', ' ')} {_number(old.get(name, 0))} → {_number(new.get(name, 0))}"


def _rules(before: Side, after: Side) -> Iterator[str]:
    old, new = (_judged(side) for side in (before, after))
    for key in dict.fromkeys([*old, *new]):
        if _without_clock(old.get(key)) != _without_clock(new.get(key)):
            name = " ".join(key).strip()
            yield f"rule: {name}: {_result(old.get(key))} → {_result(new.get(key))}"


def _judged(side: Side) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Each rule's results by scope; several where it judges several columns."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for rule in side.rules:
        found.setdefault((rule["id"], "" if rule["scope"] == "batch" else str(rule["scope"])), []).append(rule)
    return found


def _without_clock(results: list[dict[str, Any]] | None) -> list[tuple[Any, ...]] | None:
    """What is compared of a rule's results. Hours since something depend on the clock: only the verdict."""
    if results is None:
        return None
    return [tuple(each[name] for name in RULE if name != "observed" or each["unit"] != "hours") for each in results]


def _result(results: list[dict[str, Any]] | None) -> str:
    if results is None:
        return "not judged"
    words = ["accepted" if each["overridden"] else "holds" if each["passed"] else "FAILS" for each in results]
    return ", ".join(f"{_observed(each)} {word}" for each, word in zip(results, words, strict=True))


def _observed(result: dict[str, Any]) -> str:
    limit = limit_text(result["comparison"], result["threshold"], result["unit"])
    return f"{value_text(result['observed'], result['unit'])} (limit {limit})"


def _metrics(before: Side, after: Side) -> Iterator[str]:
    """daily_visit_metrics as each run left them. A day is named where enough visits are behind it on both sides."""
    minimum = max(side.manifest["config"].get("min_group_size", 1) for side in (before, after))
    frames = [_published(side) for side in (before, after)]
    if frames[0] is None or frames[1] is None:
        if (frames[0] is None) != (frames[1] is None):
            yield f"published: only the {'second' if frames[0] is None else 'first'} run loaded"
        return
    rows = [{row["visit_date"]: row for row in frame.to_dict("records")} for frame in frames if frame is not None]
    differing = [day for day in sorted({*rows[0], *rows[1]}) if _plain(rows[0].get(day)) != _plain(rows[1].get(day))]
    if not differing:
        return
    named = [day for day in differing if not any(_is_small(side.get(day), minimum) for side in rows)]
    yield f"published: {counted(len(differing), 'day')} of {len({*rows[0], *rows[1]}):,} differ"
    for day in named[:MOST_DAYS]:
        old, new = ({} if side.get(day) is None else side[day] for side in rows)
        columns = [name for name in frames[0].columns if str(old.get(name)) != str(new.get(name))]
        others = ", ".join(name.replace("_", " ") for name in columns if name not in ("visit_date", "visit_count"))
        visits = f"visits {int(old.get('visit_count', 0)):,} → {int(new.get('visit_count', 0)):,}"
        yield f"    {day}: {visits}" + (f"; {others} differ" if others else "")
    if len(named) > MOST_DAYS:
        yield f"    and {counted(len(named) - MOST_DAYS, 'day')} more"
    if len(differing) > len(named):
        yield f"    and {counted(len(differing) - len(named), 'day')} with fewer than {minimum} visits"


def _published(side: Side) -> pd.DataFrame | None:
    """None where the run did not load."""
    if side.manifest.get("outcome") != "loaded":
        return None
    try:
        return metrics_as_of(side.layout, side.run_id)
    except UsageError:
        raise StoredDataChanged(
            f"{side.layout.warehouse.name}: does not know run {side.run_id}, which is loaded; see verify."
        ) from None


def _plain(row: dict[Any, Any] | None) -> dict[Any, str] | None:
    return None if row is None else {name: str(value) for name, value in row.items()}


def _is_small(row: dict[Any, Any] | None, minimum: int) -> bool:
    return row is not None and 0 < int(row["visit_count"]) < minimum


def _notebooks(before: Side, after: Side) -> Iterator[str]:
    own = before.own, after.own
    for name in NOTEBOOKS:
        old, new = (_read_json(side.layout, side.run_id, f"{name}.ipynb") for side in (before, after))
        if old is None or new is None:
            if old is not None or new is not None:
                yield f"notebook {name}: only in the {'second' if old is None else 'first'}"
            continue
        try:
            lines = list(compare_notebooks(old, new, own))
        except (AttributeError, TypeError):
            raise StoredDataChanged(f"{name}.ipynb: is no notebook any more; see verify.") from None
        for line in lines:
            yield line if line.startswith(" ") else f"notebook {name}: {line}"


def _number(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}" if isinstance(value, float) else str(value)
