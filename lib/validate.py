"""What notebook 03 does: put the staged batch before the gate, write its report, hold what failed."""

from __future__ import annotations

import pandas as pd

from lib.clock import parse_instant
from lib.config import CANONICAL
from lib.deliveries import Delivery, Standing, mark
from lib.engines.choose import engine_named
from lib.errors import GateFailed, StoredDataChanged
from lib.extract import delivery_standings, run_batch
from lib.files import sha256_of_file
from lib.gate import ACCEPTABLE, GateResult, evaluate_gate, write_dq_report
from lib.judged import BATCH, judged_profile
from lib.layout import REPORT as REPORT
from lib.parts import unexpected_parts
from lib.run import Run
from lib.stage import read_profile
from lib.suites import keep_suites, rules
from lib.warehouse import transaction, writing

JUDGED_COLUMNS = ["source", *CANONICAL, "row_hash"]
"""Of the staged visits: the lineage, a third of their bytes, is judged by counts."""


def judge_batch(run: Run) -> GateResult:
    """Run both suites on the staged batch, write dq_report.json (the record's and the newest), note it in the manifest.
    The record keeps the suites too.

    Raises StoredDataChanged when the staged files are not those that 02 wrote.
    """
    check_staged(run)
    batch = run_batch(run)
    with engine_named(run.settings.engine.kind).open_staged(
        run.settings.engine, run.staging / "visits.parquet", JUDGED_COLUMNS, run.settings.gate.max_native_rows
    ) as (frame, sampled):
        result = evaluate_gate(
            read_profile(run),
            frame,
            run.settings,
            clock=max(parse_instant(each.clock) for each in (*batch.deliveries, *batch.context)),
            overrides=_overrides(run),
            sampled=sampled,
        )
    keep_suites(run.record)
    write_dq_report(run.record / REPORT, result, run_id=run.run_id, as_of=run.as_of)
    write_dq_report(run.layout.staging / REPORT, result, run_id=run.run_id, as_of=run.as_of)
    run.manifest.record(
        gate={
            "decision": result.decision,
            "summary": result.summary,
            "staged": run.manifest["staged"],
            "version": run.manifest["version"],
        }
    )
    return result


def require_gate(run: Run, result: GateResult) -> str:
    """The gate's word in one line. Raises GateFailed when the batch may not be loaded, after holding its deliveries.

    Held are the deliveries that failed by themselves; if none did, the whole batch is.
    """
    if result.passed:
        return result.summary
    rules = sorted({each.rule for each in result.critical_failures})
    batch = run_batch(run)
    failing = set(result.failing_deliveries)
    loaded = {each.delivery.sequence for each in delivery_standings(run) if each.status == "loaded"}
    held = [
        each for each in batch.deliveries if (not failing or each.sequence in failing) and each.sequence not in loaded
    ]
    # with those that were accepted this time: the next acceptance needs them again
    observed = failed_rules(result)
    marks = []
    with writing(run.layout) as connection, transaction(connection):
        for each in held:
            mark(connection, each, "held", run_id=run.run_id, failed_rules=observed)
            marks.append({"sequence": each.sequence, "status": "held", "failed_rules": observed})
    run.manifest.record(marks=marks)
    why = _why_nothing_came(run) if "zero_row_load" in rules else ""
    message = f"{result.summary} {why}Nothing was loaded; {_what_next(held, list(observed))}"
    run.end("held", message)
    raise GateFailed(message)


def judged_frame(run: Run) -> pd.DataFrame:
    """The profile as the gate judges it. Grain: one row per measure: batch, lowest and highest delivery."""
    settings = run.settings
    judged = judged_profile(read_profile(run), settings.gate, has_costs=settings.columns.visit_cost is not None)
    measures = judged.set_index("scope").astype("float64")
    shown = {"batch": measures.loc[BATCH]}
    if len(measures) > 2:  # a single delivery is the batch
        deliveries = measures.drop(index=BATCH)
        shown |= {"lowest delivery": deliveries.min(), "highest delivery": deliveries.max()}
    texts = {
        scope: [_measure(str(name), float(value)) for name, value in values.to_dict().items()]
        for scope, values in shown.items()
    }
    return pd.DataFrame({"measure": [str(name).replace("_", " ") for name in measures.columns], **texts})


def suite_frame(result: GateResult, suite: str) -> pd.DataFrame:
    """The rules of one suite as judged. Grain: one row per rule, its worst result, with the reason for it."""
    reasons = {each.rule: each.reason for each in result.worst if each.suite == suite}
    frame = result.frame()
    frame = frame[frame["rule"].isin(list(reasons))].reset_index(drop=True)
    return frame.assign(why=frame["rule"].map(reasons))


def results_frame(result: GateResult) -> pd.DataFrame:
    """The rules of dq_report.json as a frame. Grain: one row per rule and scope."""
    return pd.DataFrame(each.to_json() for each in result.rules)


def rule_counts(result: GateResult) -> pd.DataFrame:
    """Grain: one row per severity: its rules, and how many of them hold, fail, were let pass by a person, and had
    nothing to judge."""
    frame = result.frame()
    counted = frame.groupby("severity", as_index=False).agg(rules=("rule", "size"))
    for column, passed in {"hold": "yes", "fail": "NO", "let pass": "by override", "not judged": "not judged"}.items():
        found = frame[frame["passed"] == passed]["severity"].value_counts()
        counted[column] = counted["severity"].map(found).fillna(0).astype("int64")
    return counted


def every_rule_judged(result: GateResult) -> bool:
    """Whether each rule of both suites has a result."""
    return {each.rule for each in result.rules} == {each.id for each in rules()}


def _measure(name: str, value: float) -> str:
    if pd.isna(value):
        return "not judged"
    if name.endswith(("_share", "_drop")):
        return f"{100 * value:.2f} %"
    if name.endswith("_deviation"):
        return f"{value:,.1f}"
    return f"{value:,.1f} h" if name.startswith("hours_") else f"{value:,.0f}"


def failed_rules(result: GateResult) -> dict[str, float]:
    """The worst observed value of each failed critical rule: what an --accept of it would accept."""
    failed = [each for each in result.worst if each.severity == "critical" and not each.passed]
    return {each.rule: float(each.observed or 0) for each in sorted(failed, key=lambda each: each.rule)}


def check_staged(run: Run) -> None:
    """Raise StoredDataChanged when a staged file is not what the manifest says."""
    for name, sha256 in run.manifest["staged"].items():
        path = run.staging / name
        if not path.exists() or sha256_of_file(path) != sha256:
            raise StoredDataChanged(f"staging/{run.run_id}/{name}: is not what 02 wrote; begin a new run.")
    for name in unexpected_parts(run.staging, set(run.manifest["staged"])):
        raise StoredDataChanged(f"staging/{run.run_id}/{name}: is none of what 02 wrote; begin a new run.")


def _overrides(run: Run) -> dict[str, float]:
    """Per accepted rule, the worst value that the held deliveries of this batch were held for; and what was accepted in
    the loads that this run catches up (lib/restore.py)."""
    members = {each.sequence for each in run_batch(run).deliveries}
    held = [each for each in delivery_standings(run) if each.delivery.sequence in members and each.status == "held"]
    asked = {rule: value for rule in run.options.accept if (value := _worst(rule, held)) is not None}
    return {**(run.manifest.get("behind") or {}).get("accepted", {}), **asked}


def _worst(rule: str, held: list[Standing]) -> float | None:
    values = [each.failed_rules[rule] for each in held if rule in each.failed_rules]
    return max(values, default=None)  # shares; a zero-row load, the one rule that fails below, always observes 0


def _what_next(held: list[Delivery], rules: list[str]) -> str:
    if not held:
        return "all of it was loaded before: look at the rules and thresholds in the config."
    many = "delivery is" if len(held) == 1 else "deliveries are"
    corrected = f"{len(held)} {many} held: deliver a corrected file"
    if not set(rules) <= set(ACCEPTABLE):
        return f"{corrected}; {', '.join(sorted(set(rules) - set(ACCEPTABLE)))} cannot be accepted."
    return f"{corrected}, or accept it with {' '.join(f'--accept {rule}' for rule in rules)} --reason TEXT."


def _why_nothing_came(run: Run) -> str:
    """A zero-row load explained: an empty delivery and a stale one are different troubles upstream."""
    deliveries = read_profile(run).query("not is_batch and new_batch and superseded + staged == 0")
    if (deliveries["rows_read"] == 0).any():
        return "A delivery holds no rows. "
    outside = deliveries[["outside_held", "outside_missed", "outside_invalid"]].sum(axis=1)
    if len(deliveries) and (outside == deliveries["rows_read"]).any():
        return "All rows of a delivery are older than the window: stale or rolled back upstream. "
    return "A delivery holds no row that was accepted. "
