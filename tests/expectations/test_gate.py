"""The gate: a clean batch passes every rule, one bad row or count fails exactly its own."""

from __future__ import annotations

import gc
import json
import re
import socket
import traceback
import weakref
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from lib import gate, suites
from lib.config import Gate, Rules, Settings, settings_from
from lib.errors import PipelineError, UsageError
from lib.gate import GateResult, evaluate_gate
from lib.judged import PROFILE_COUNTS, judged_profile, judged_staged, staged_parameters
from lib.validate import rule_counts

CLOCK = datetime(2025, 12, 7, 6, tzinfo=UTC)
SETTINGS = Settings()
CANARY = "CANARY-4711"
STAGED_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("source", "visit_id", "patient_id", "provider_id", "diagnosis_code"), pa.string()),
        "visit_date": pa.date32(),
        "visit_cost": pa.decimal128(18, 2),
        "last_updated": pa.timestamp("us", tz="UTC"),
        "row_hash": pa.string(),
        "delivery_seq": pa.int64(),
        "source_line": pa.int64(),
        "action": pa.string(),
    }
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The gate never calls out: not for usage reports, not for version checks."""
    called: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: called.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: called.append(args))
    yield
    assert called == []


def visit(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "source": "clinic",
        "visit_id": f"V{number}",
        "patient_id": f"P{number}",
        "provider_id": "D1",
        "diagnosis_code": "I10",
        "visit_date": date(2025, 12, 1),
        "visit_cost": Decimal("120.50"),
        "last_updated": datetime(2025, 12, 6, 12, tzinfo=UTC),
        "row_hash": f"{number:064x}",
        "delivery_seq": 1 + number % 2,
        "source_line": number + 2,
        "action": "inserted",
        **changes,
    }


def staged_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """As `visits.parquet` is read: Arrow types."""
    return pa.Table.from_pylist(rows, schema=STAGED_SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)


def scope(name: str, rows: int, **changes: Any) -> dict[str, Any]:
    """A scope of which every row was read, staged and inserted."""
    return {
        "scope": name,
        "is_batch": name == "batch",
        "new_batch": True,
        **dict.fromkeys(PROFILE_COUNTS, 0),
        **dict.fromkeys(("rows_read", "staged", "inserted"), rows),
        "expected_rows": rows,
        "row_count_deviation": 0.0,
        "hours_since_newest": 18.0,
        "absent_visits": 0,
        "restated_days": 0,
        **changes,
    }


def profile_frame(*scopes: dict[str, Any]) -> pd.DataFrame:
    """As `batch_profile.parquet` is read: Arrow types, the batch's row not first."""
    return pa.Table.from_pylist(list(scopes)).to_pandas(types_mapper=pd.ArrowDtype)


def profile_of(rows: int, **batch: Any) -> pd.DataFrame:
    """One delivery of `rows` rows, and the batch with `batch`'s changes."""
    return profile_frame(scope("delivery 000001", rows), scope("batch", rows, **batch))


FOUR = [visit(number) for number in range(4)]


def judge(
    profile: pd.DataFrame | None = None,
    rows: list[dict[str, Any]] | None = None,
    settings: Settings = SETTINGS,
    **more: Any,
) -> GateResult:
    rows = FOUR if rows is None else rows
    profile = profile_of(len(rows)) if profile is None else profile
    return evaluate_gate(profile, staged_frame(rows), settings, clock=CLOCK, **more)


def failed(result: GateResult) -> set[tuple[str, str]]:
    return {(each.rule, each.severity) for each in result.rules if not each.passed}


def test_a_limit_that_the_config_does_not_set_is_not_judged() -> None:
    result = judge(profile_of(4, restated_days=400))
    assert failed(result) == set()
    frame = result.frame().set_index("rule")
    shown = frame.loc["restated_days", ["observed", "threshold", "passed"]]
    assert shown.tolist() == ["none", "no limit", "not judged"]
    assert next(each for each in result.to_json()["rules"] if each["id"] == "restated_days")["threshold"] is None


def test_a_wide_restatement_may_be_accepted_once_at_no_worse() -> None:
    limited = Settings(gate=Gate(max_restated_days=30))
    for days, decision in ((31, "PASSED BY OVERRIDE"), (32, "FAILED")):
        result = judge(profile_of(4, restated_days=days), settings=limited, overrides={"restated_days": 31})
        assert result.decision == decision


def test_rules_are_counted_by_what_became_of_them() -> None:
    """A rule that had nothing to judge failed no more than one that a person let pass."""
    named = {"critical": ("yes", "NO", "by override", "by override"), "warning": ("not judged", "yes", "yes")}
    told = {
        "yes": (1, True, False),
        "NO": (1, False, False),
        "by override": (1, False, True),
        "not judged": (None, True, False),
    }
    results = [
        gate.RuleResult(f"{severity} {number}", "s", severity, "batch", seen, "<=", 1, "count", passed, accepted, "")  # type: ignore[arg-type]
        for severity, names in named.items()
        for number, (seen, passed, accepted) in enumerate(told[name] for name in names)
    ]
    assert rule_counts(GateResult(tuple(results), 1, 0, 0)).to_dict("records") == [
        {"severity": "critical", "rules": 4, "hold": 1, "fail": 1, "let pass": 2, "not judged": 0},
        {"severity": "warning", "rules": 3, "hold": 2, "fail": 0, "let pass": 0, "not judged": 1},
    ]


def test_a_clean_batch_passes_every_rule() -> None:
    result = judge()
    assert failed(result) == set()
    assert result.decision == "PASSED"
    assert [each.rule for each in result.rules] == [rule.id for rule in suites.rules()]
    assert {each.scope for each in result.rules} == {"batch"}
    assert (result.critical_failures, result.warnings, result.failing_deliveries) == ((), (), ())
    judged = [each.rule for each in result.rules if each.observed is not None]
    assert {each.rule for each in result.rules} - {*judged} <= {"restated_days", "absent_visits", "unusual_row_count"}
    unjudged = len(result.rules) - len(judged)
    assert result.summary == f"PASSED: {len(judged)} rules hold, {unjudged} had nothing to judge."


# Each count is the batch's; 20 rows are read. The numbers keep rows conserved where the rule is another one.
REFUSED_3 = {"rows_read": 23, "refused": 3, "newly_refused": 3}
BAD_PROFILES: dict[str, tuple[str, dict[str, Any], float, dict[str, Any]]] = {
    "missing_required_share": ("critical", {**REFUSED_3, "newly_missing": 3}, 3 / 23, {"max_refused_share": 1}),
    "invalid_visit_date_share": (
        "critical", {**REFUSED_3, "newly_invalid_visit_date": 3}, 3 / 23, {"max_refused_share": 1},
    ),
    "refused_share": ("critical", REFUSED_3, 3 / 23, {}),
    "restated_days": ("critical", {"restated_days": 31}, 31, {"max_restated_days": 30}),
    "zero_row_load": ("critical", {"outside_held": 20, "staged": 0, "inserted": 0}, 0, {}),
    "unique_business_key": ("critical", {"duplicate_keys": 1}, 1, {}),
    "row_conservation": ("critical", {"rows_read": 21}, 1, {}),
    "null_cost_share": ("warning", {"null_cost": 3}, 0.15, {}),
    "row_count_drop": ("warning", {"expected_rows": 41}, 1 - 20 / 41, {}),
    "unusual_row_count": ("warning", {"row_count_deviation": 6.1}, 6.1, {}),
    "stale_data": ("warning", {"hours_since_newest": 72.5}, 72.5, {}),
    "schema_drift": ("warning", {"unexpected_columns": 1, "absent_columns": 1}, 2, {}),
    "missed_rows": ("warning", {"rows_read": 22, "outside_missed": 2}, 2, {}),
    "held_deliveries": ("warning", {"held_deliveries": 1}, 1, {}),
    "changed_rules": ("warning", {"changed_rules": 2}, 2, {}),
    "absent_visits": ("warning", {"absent_visits": 3}, 3, {}),
    "same_stamp_changes": ("warning", {"same_stamp_changes": 2}, 2, {}),
}  # fmt: skip


@pytest.mark.parametrize("rule", BAD_PROFILES)
def test_a_bad_count_fails_exactly_its_rule(rule: str) -> None:
    severity, changes, observed, thresholds = BAD_PROFILES[rule]
    rows = [visit(number) for number in range(changes.get("staged", 20))]
    result = judge(profile_of(20, **changes), rows, Settings(gate=Gate(**thresholds)))
    assert failed(result) == {(rule, severity)}
    (bad,) = (each for each in result.rules if not each.passed)
    assert bad.observed == pytest.approx(observed)
    assert bad.scope == "batch"
    assert result.decision == ("FAILED" if severity == "critical" else "PASSED WITH WARNINGS")
    assert result.failing_deliveries == ()


BAD_ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no visit_id": ("required_columns", "critical", {"visit_id": None}),
    "no patient_id": ("required_columns", "critical", {"patient_id": None}),
    "no visit_date": ("required_columns", "critical", {"visit_date": None}),
    "no last_updated": ("required_columns", "critical", {"last_updated": None}),
    "key staged twice": ("staged_key_unique", "critical", {"visit_id": "V1"}),
    "no hash": ("row_hash_shape", "critical", {"row_hash": None}),
    "upper-case hash": ("row_hash_shape", "critical", {"row_hash": "A" * 64}),
    "long hash": ("row_hash_shape", "critical", {"row_hash": "a" * 65}),
    "visit_id of 129": ("text_length", "critical", {"visit_id": "é" * 129}),
    "patient_id of 129": ("text_length", "critical", {"patient_id": "x" * 129}),
    "provider_id of 129": ("text_length", "critical", {"provider_id": "x" * 129}),
    "blank patient_id": ("text_length", "critical", {"patient_id": ""}),
    "day before the first": ("visit_date_in_range", "critical", {"visit_date": date(1899, 12, 31)}),
    "day after tomorrow": ("visit_date_in_range", "critical", {"visit_date": date(2025, 12, 9)}),
    "year 9999": ("visit_date_in_range", "critical", {"visit_date": date(9999, 12, 31)}),
    "negative cost": ("visit_cost_in_range", "critical", {"visit_cost": Decimal("-0.01")}),
    "cost above": ("visit_cost_in_range", "critical", {"visit_cost": Decimal("10000000.01")}),
    "future stamp": (
        "last_updated_not_after_clock", "critical", {"last_updated": datetime(2025, 12, 7, 6, 5, 0, 1, tzinfo=UTC)},
    ),
    "odd diagnosis code": ("diagnosis_code_shape", "warning", {"diagnosis_code": "flu"}),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_fails_exactly_its_rule(case: str) -> None:
    rule, severity, changes = BAD_ROWS[case]
    result = judge(rows=[*FOUR[:3], visit(3, **changes)])
    assert failed(result) == {(rule, severity)}
    (bad,) = (each for each in result.rules if not each.passed)
    assert bad.observed == {"staged_key_unique": 2, "diagnosis_code_shape": 0.75}.get(rule, 1)


def test_every_rule_has_a_bad_case() -> None:
    tried = {*BAD_PROFILES, *(rule for rule, _, _ in BAD_ROWS.values()), "staged_row_count"}
    assert tried == {rule.id for rule in suites.rules()}


BOUNDARY_ROWS = {
    "128 code points": {"visit_id": "é" * 128},
    "first day": {"visit_date": date(1900, 1, 1)},
    "tomorrow": {"visit_date": date(2025, 12, 8)},
    "free": {"visit_cost": Decimal("0.00")},
    "dearest": {"visit_cost": Decimal("10000000.00")},
    "skewed clock": {"last_updated": datetime(2025, 12, 7, 6, 5, tzinfo=UTC)},
    "no optional value": {"provider_id": None, "diagnosis_code": None, "visit_cost": None},
}


@pytest.mark.parametrize("case", BOUNDARY_ROWS)
def test_a_row_on_the_boundary_passes(case: str) -> None:
    assert failed(judge(rows=[*FOUR[:3], visit(3, **BOUNDARY_ROWS[case])])) == set()


def test_a_cut_or_empty_frame_fails_the_row_count() -> None:
    assert failed(judge(profile_of(4), FOUR[:3])) == {("staged_row_count", "critical")}
    assert failed(judge(profile_of(4), [])) == {("staged_row_count", "critical")}


def test_an_empty_frame_is_judged_when_nothing_was_staged() -> None:
    again = scope("batch", 0, new_batch=False)
    assert judge(profile_frame(again), []).decision == "PASSED"
    assert failed(judge(profile_frame(scope("batch", 0)), [])) == {("zero_row_load", "critical")}


def test_a_sample_is_not_counted_but_must_not_be_empty() -> None:
    assert failed(judge(profile_of(400), FOUR, sampled=True)) == set()
    assert failed(judge(profile_of(400), [], sampled=True)) == {("staged_row_count", "critical")}


def test_all_costs_null_is_a_warning_and_none_for_a_source_without_costs() -> None:
    rows = [visit(number, visit_cost=None) for number in range(4)]
    assert failed(judge(profile_of(4, null_cost=4), rows)) == {("null_cost_share", "warning")}
    costless = settings_from({"columns": {"visit_cost": None}}, "test")
    assert judge(profile_of(4, null_cost=4), rows, costless).decision == "PASSED"


@pytest.mark.parametrize("cost", [float("inf"), float("-inf"), float("nan")])
def test_a_cost_that_is_not_finite_fails(cost: float) -> None:
    staged = staged_frame(FOUR)
    costs = pa.array([1.0, 2.0, 3.0, cost], from_pandas=False)
    staged["visit_cost"] = pd.Series(pd.array(costs, dtype=pd.ArrowDtype(pa.float64())))
    result = evaluate_gate(profile_of(4), staged, SETTINGS, clock=CLOCK)
    assert failed(result) == {("visit_cost_in_range", "critical")}


def test_numpy_frames_are_judged_alike() -> None:
    rows = pd.DataFrame([*FOUR[:3], visit(3, visit_date=date(1800, 1, 1), visit_cost=None)])
    profile = pd.DataFrame([scope("delivery 000001", 4), scope("batch", 4, expected_rows=None)])
    assert failed(evaluate_gate(profile, rows, SETTINGS, clock=CLOCK)) == {("visit_date_in_range", "critical")}


def test_a_frame_in_several_chunks_is_judged_whole() -> None:
    rows = [visit(3, row_hash="z"), *FOUR]
    table = pa.concat_tables([pa.Table.from_pylist([row], schema=STAGED_SCHEMA) for row in rows])
    staged = table.to_pandas(types_mapper=pd.ArrowDtype)
    assert failed(evaluate_gate(profile_of(5), staged, SETTINGS, clock=CLOCK)) == {
        ("row_hash_shape", "critical"),
        ("staged_key_unique", "critical"),
    }


def test_the_frame_is_let_go_after_the_verdict() -> None:
    frame = judged_staged(staged_frame(FOUR))
    watch = weakref.ref(frame)
    suites.run_suite("staged_rows", frame, staged_parameters(SETTINGS, CLOCK, 4))
    del frame
    gc.collect()
    assert watch() is None


def test_the_cost_bound_is_rounded_as_costs_are() -> None:
    settings = Settings(rules=Rules(max_visit_cost=Decimal("10.005")))
    assert failed(judge(rows=[visit(0, visit_cost=Decimal("10.01"))], settings=settings)) == set()


@pytest.mark.parametrize(("zone", "day"), [("Pacific/Kiritimati", 9), ("UTC", 8), ("Pacific/Pago_Pago", 7)])
def test_the_last_day_is_tomorrow_in_the_sources_zone(zone: str, day: int) -> None:
    settings = settings_from({"source": {"timezone": zone}}, "test")
    half_past_ten = datetime(2025, 12, 7, 10, 30, tzinfo=UTC)
    assert staged_parameters(settings, half_past_ten, 1)["max_visit_date"].date() == date(2025, 12, day)


# --- scopes


def test_a_bad_delivery_is_not_diluted_by_good_ones() -> None:
    bad = scope("delivery 000007", 20, **REFUSED_3)
    good = scope("delivery 000008", 980)
    batch = scope("batch", 1000, rows_read=1003, refused=3, newly_refused=3)
    result = judge(profile_frame(bad, good, batch), [visit(number) for number in range(1000)])
    (failure,) = result.critical_failures
    assert (failure.rule, failure.scope, failure.observed) == ("refused_share", "delivery 000007", 3 / 23)
    assert result.failing_deliveries == (7,)
    assert result.decision == "FAILED"
    shown = result.frame().set_index("rule").loc["refused_share"]
    assert shown.to_dict() == {
        "severity": "critical", "observed": "13.04 %", "threshold": "≤ 5.00 %", "passed": "NO",
        "scope": "delivery 000007",
    }  # fmt: skip
    assert result.summary == "FAILED: refused_share 13.04 % (limit ≤ 5.00 %, delivery 000007)."
    assert len(result.frame()) == len(suites.rules())


def test_a_header_only_delivery_fails_by_itself() -> None:
    result = judge(profile_frame(scope("delivery 000002", 0), scope("delivery 000003", 4), scope("batch", 4)))
    assert [(each.rule, each.scope) for each in result.critical_failures] == [("zero_row_load", "delivery 000002")]
    assert result.failing_deliveries == (2,)


def test_the_last_batch_again_is_never_a_zero_row_load() -> None:
    again = {"new_batch": False, "outside_held": 20, "staged": 0, "inserted": 0}
    profile = profile_frame(scope("delivery 000001", 20, **again), scope("batch", 20, **again))
    result = judge(profile, [])
    assert result.decision == "PASSED"
    (rule,) = (each for each in result.rules if each.rule == "zero_row_load")
    assert rule.observed is None


def test_freshness_and_held_deliveries_are_matters_of_the_batch() -> None:
    delivery = scope("delivery 000001", 4, hours_since_newest=999.0, held_deliveries=5)
    judged = judged_profile(profile_frame(delivery, scope("batch", 4)), Gate())
    assert judged["scope"].tolist() == ["batch", "delivery 000001"]
    assert judged["hours_since_newest"].isna().tolist() == [False, True]
    assert judged["held_deliveries"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("refused", "least", "share"), [(2, 3, 0.0), (3, 3, 3 / 23), (1, 0, 1 / 21), (0, 0, 0.0)], ids=str
)
def test_a_share_counts_from_min_failing_rows(refused: int, least: int, share: float) -> None:
    batch = scope("batch", 20, rows_read=20 + refused, refused=refused, newly_refused=refused)
    judged = judged_profile(profile_frame(batch), Gate(min_failing_rows=least))
    assert judged["refused_share"].tolist() == [pytest.approx(share)]


def test_known_refused_rows_do_not_count_again() -> None:
    batch = scope("batch", 20, rows_read=30, refused=10, newly_refused=0)
    judged = judged_profile(profile_frame(batch), Gate())
    assert judged[["refused_share", "conservation_difference"]].to_numpy().tolist() == [[0.0, 0.0]]


def test_a_share_is_of_rows_newly_refused_superseded_or_staged() -> None:
    counts = {"rows_read": 60, "outside_held": 20, "superseded": 7, "refused": 13, "newly_refused": 3}
    batch = scope("batch", 20, **counts, newly_missing=3, newly_invalid_visit_date=3, null_cost=5)
    judged = judged_profile(profile_frame(batch), Gate()).iloc[0]
    assert judged[["missing_required_share", "invalid_visit_date_share", "refused_share"]].tolist() == [0.1] * 3
    assert judged[["null_cost_share", "accepted_rows", "conservation_difference"]].tolist() == [0.25, 27, 0]


@pytest.mark.parametrize(("expected", "drop"), [(None, 0.0), (0, 0.0), (10, 0.0), (20, 0.0), (80, 0.75)], ids=str)
def test_a_drop_needs_a_larger_baseline(expected: int | None, drop: float) -> None:
    judged = judged_profile(pd.DataFrame([scope("batch", 20, expected_rows=expected)]), Gate())
    assert judged["row_count_drop"].tolist() == [drop]


def test_an_unusual_row_count_is_judged_in_every_scope_and_only_where_enough_is_known() -> None:
    limited = Settings(gate=Gate(max_row_count_deviation=3.5))
    odd, usual = scope("delivery 000001", 3, row_count_deviation=9.04), scope("delivery 000002", 1)
    batch = scope("batch", 4, row_count_deviation=3.5)
    result = judge(profile_frame(odd, usual, batch), settings=limited)
    assert failed(result) == {("unusual_row_count", "warning")}
    assert result.summary == "PASSED WITH WARNINGS: unusual_row_count 9.0 (limit ≤ 3.5, delivery 000001)."
    unknown = judge(profile_of(4, row_count_deviation=None))
    shown = unknown.frame().set_index("rule").loc["unusual_row_count"]
    assert shown[["observed", "threshold", "passed"]].tolist() == ["none", "≤ 6.0", "not judged"]


@pytest.mark.parametrize("changes", [{"staged": 19}, {"updated": 1}, {"outside_invalid": 1}, {"unchanged": 2}], ids=str)
def test_rows_that_do_not_add_up_are_never_conserved(changes: dict[str, int]) -> None:
    judged = judged_profile(profile_frame(scope("batch", 20, **changes)), Gate())
    assert judged["conservation_difference"].item() > 0


BROKEN_PROFILES = {
    "no batch row": (profile_frame(scope("delivery 000001", 1)), "exactly one for the batch"),
    "two batch rows": (profile_frame(scope("batch", 1), scope("batch", 1)), "exactly one for the batch"),
    "a count is missing": (profile_frame(scope("batch", 1, refused=None)), "counts are missing in refused"),
    "a column is missing": (profile_frame(scope("batch", 1)).drop(columns="staged"), "columns are missing (staged)"),
}


@pytest.mark.parametrize("case", BROKEN_PROFILES)
def test_a_profile_that_staging_would_not_write_is_an_error(case: str) -> None:
    profile, message = BROKEN_PROFILES[case]
    with pytest.raises(PipelineError, match=re.escape(message)):
        judge(profile)


# --- overrides


def held_result(**more: Any) -> GateResult:
    return judge(profile_of(20, **REFUSED_3), [visit(number) for number in range(20)], **more)


def test_an_accepted_rule_passes_at_no_worse_than_it_was() -> None:
    again = held_result(overrides={"refused_share": 3 / 23})
    assert again.decision == "PASSED BY OVERRIDE"
    assert again.passed
    (rule,) = (each for each in again.rules if not each.passed)
    assert (rule.rule, rule.overridden, again.critical_failures) == ("refused_share", True, ())
    assert again.frame().set_index("rule").loc["refused_share", "passed"] == "by override"
    assert held_result(overrides={"refused_share": 0.13}).decision == "FAILED"


def test_accepting_one_rule_leaves_the_others() -> None:
    profile = profile_of(20, **REFUSED_3, newly_missing=3)
    rows = [visit(number) for number in range(20)]
    result = judge(profile, rows, overrides={"refused_share": 1.0})
    assert result.decision == "FAILED"
    assert [each.rule for each in result.critical_failures] == ["missing_required_share"]


def test_an_accepted_zero_row_load_passes() -> None:
    profile = profile_frame(scope("delivery 000002", 0), scope("batch", 0))
    assert judge(profile, []).failing_deliveries == (2,)
    assert judge(profile, [], overrides={"zero_row_load": 0}).decision == "PASSED BY OVERRIDE"


def test_the_worst_delivery_is_shown_when_the_batch_holds() -> None:
    worse = scope("delivery 000002", 20, rows_read=24, refused=4, newly_refused=4)
    batch = scope("batch", 1000, rows_read=1007, refused=7, newly_refused=7)
    profile = profile_frame(scope("delivery 000001", 20, **REFUSED_3), worse, batch)
    result = judge(profile, [visit(number) for number in range(1000)])
    assert result.failing_deliveries == (1, 2)
    assert result.frame().set_index("rule").loc["refused_share", "scope"] == "delivery 000002"


def test_an_override_covers_every_scope_that_is_no_worse() -> None:
    batch = scope("batch", 40, rows_read=43, refused=3, newly_refused=3)
    profile = profile_frame(scope("delivery 000001", 20, **REFUSED_3), scope("delivery 000002", 20), batch)
    rows = [visit(number) for number in range(40)]
    assert judge(profile, rows, overrides={"refused_share": 3 / 23}).decision == "PASSED BY OVERRIDE"
    only_batch = judge(profile, rows, overrides={"refused_share": 3 / 43})
    assert (only_batch.decision, only_batch.failing_deliveries) == ("FAILED", (1,))


@pytest.mark.parametrize("rule", [*gate.NEVER_ACCEPTED, "stale_data", "no_such_rule"])
def test_other_rules_cannot_be_accepted(rule: str) -> None:
    with pytest.raises(UsageError, match="rules that can be accepted: missing_required_share, "):
        judge(overrides={rule: 1.0})


def test_every_critical_rule_is_acceptable_or_never() -> None:
    critical = {rule.id for rule in suites.rules() if rule.severity == "critical"}
    assert critical == {*gate.ACCEPTABLE, *gate.NEVER_ACCEPTED}
    assert not {*gate.ACCEPTABLE} & {*gate.NEVER_ACCEPTED}


# --- what is written, and what never is


def test_the_report_holds_counts_and_shares(tmp_path: Path) -> None:
    path = tmp_path / "dq_report.json"
    gate.write_dq_report(path, held_result(), run_id="000001", as_of=CLOCK)
    report = json.loads(path.read_text())
    head = {key: value for key, value in report.items() if key != "rules"}
    assert head == {
        "run_id": "000001",
        "as_of": "2025-12-07T06:00:00.000000+00:00",
        "decision": "FAILED",
        "deliveries_judged": 1,
        "staged_rows": 20,
        "staged_rows_judged": 20,
    }
    (refused,) = (rule for rule in report["rules"] if rule["id"] == "refused_share")
    assert refused.pop("reason").startswith("When too many rows are refused")
    assert refused == {
        "id": "refused_share", "suite": "batch_profile", "severity": "critical", "scope": "batch", "observed": 3 / 23,
        "comparison": "<=", "threshold": 0.05, "unit": "share", "passed": False, "overridden": False,
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600


def canaries() -> list[dict[str, Any]]:
    """Three rows that break every staged rule at once, one that breaks none; every value is telling."""
    broken = {
        "visit_id": CANARY + "x" * 128,
        "patient_id": None,
        "provider_id": CANARY + "y" * 128,
        "diagnosis_code": CANARY,
        "visit_date": date(1847, 11, 17),
        "visit_cost": Decimal("-48151623.42"),
        "last_updated": datetime(2047, 11, 17, 23, 47, tzinfo=UTC),
        "row_hash": CANARY,
    }
    return [visit(0), visit(1, **broken), visit(2, **broken), visit(3, **broken)]


TELLING = re.compile(r"4711|48151623|1847|2047|V0|P0|120\.5|Timestamp|Decimal")


def test_no_value_of_a_visit_leaves_the_gate(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        result = judge(profile_of(5), canaries())
    of_rows = {each.rule for each in result.rules if not each.passed}
    assert of_rows == {rule.id for rule in suites.rules() if rule.suite == "staged_rows"}
    out, err = capfd.readouterr()
    shown = [json.dumps(result.to_json()), result.frame().to_string(), result.summary, repr(result)]
    told = [*shown, out, err, caplog.text]
    assert [TELLING.findall(text) for text in told] == [[]] * len(told)


def test_not_even_the_library_is_asked_for_values() -> None:
    frame, parameters = judged_staged(staged_frame(canaries())), staged_parameters(SETTINGS, CLOCK, 5)
    results = suites._validate(suites.read_suite("staged_rows"), frame, parameters, suites.COUNTS_ONLY)
    assert [TELLING.findall(str(each.result)) for each in results] == [[]] * len(results)


WRONG_TYPES = {
    "visit_cost": [CANARY] * 4,
    "visit_date": [CANARY] * 4,
    "last_updated": [CANARY] * 4,
    "row_hash": [{"a": CANARY}] * 4,
}


@pytest.mark.parametrize("column", WRONG_TYPES)
def test_no_value_is_in_an_exception(column: str) -> None:
    staged = staged_frame(FOUR).assign(**{column: WRONG_TYPES[column]})
    with pytest.raises(PipelineError, match=f"staged rows: {column} is not") as caught:
        evaluate_gate(profile_of(4), staged, SETTINGS, clock=CLOCK)
    assert not TELLING.search("".join(traceback.format_exception(caught.value)))
    assert caught.value.__context__ is None


def test_an_expectation_that_cannot_be_evaluated_fails_the_run_without_its_message() -> None:
    frame = judged_staged(staged_frame(canaries())).assign(visit_cost=CANARY)
    with pytest.raises(PipelineError, match="visit_cost_in_range could not be evaluated") as caught:
        suites.run_suite("staged_rows", frame, staged_parameters(SETTINGS, CLOCK, 4))
    assert not TELLING.search("".join(traceback.format_exception(caught.value)))
    with pytest.raises(PipelineError, match="could not be evaluated") as caught:
        suites.run_suite("staged_rows", frame, {})
    assert caught.value.__context__ is None


# --- the suites as reviewed


def test_every_suite_parameter_is_a_setting_or_a_value_of_the_run() -> None:
    settings = {*Gate.model_fields, *Rules.model_fields}
    of_the_run = {"staged_rows", "max_visit_date", "max_last_updated"}
    assert suites.suite_parameters("batch_profile") <= settings
    assert suites.suite_parameters("staged_rows") <= settings | of_the_run
    assert suites.suite_parameters("staged_rows") == set(staged_parameters(SETTINGS, CLOCK, 0))
    unused = set(Gate.model_fields) - suites.suite_parameters("batch_profile") - suites.suite_parameters("staged_rows")
    assert unused == {"min_failing_rows", "max_native_rows"}  # applied before the suites


def test_the_readme_describes_every_rule() -> None:
    readme = (suites.FOLDER / "README.md").read_text(encoding="utf-8")
    described = {}
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            described[cells[0].strip("`")] = cells[2], set(re.findall(r"`(\w+)`", cells[3]))
    for rule in suites.rules():
        severity, named = described.pop(rule.id)
        assert severity == rule.severity
        assert named >= {name for name in rule.parameters if name in {*Gate.model_fields, *Rules.model_fields}}
    assert described == {}


@pytest.mark.parametrize("name", suites.SUITES)
def test_every_expectation_carries_rule_unit_reason_and_severity(name: str) -> None:
    suite = suites.read_suite(name)
    assert suite["name"] == name
    for expectation in suite["expectations"]:
        assert set(expectation) == {"type", "severity", "kwargs", "meta", "notes"}
        assert expectation["severity"] in ("critical", "warning")
        assert expectation["meta"].keys() == {"rule", "unit"}
        assert expectation["notes"].endswith(".")
        # The observed values of these are data: a minimum, a maximum, a set of codes.
        assert not re.search(r"_(min|max|mean|median|sum|set|quantile)", expectation["type"])


def test_a_regular_expression_that_is_none_is_refused_by_the_config() -> None:
    with pytest.raises(UsageError, match=r"gate\.diagnosis_code_regex: is not a regular expression"):
        settings_from({"gate": {"diagnosis_code_regex": "["}}, "config.yaml")


ICD = ["I10", "E11.9", "E119", "S72.001A", "U07.1", "C7A.00", "250", "250.00", "25000", "V70.0", "E880.1", "E8801"]


@pytest.mark.parametrize("code", ICD)
def test_icd_codes_have_the_shape(code: str) -> None:
    assert re.search(Gate().diagnosis_code_regex, code)


@pytest.mark.parametrize("code", ["flu", "i10", "I1", "I10.", "12", "D-1", "Z00.00000", "I10 E11"])
def test_other_codes_do_not(code: str) -> None:
    assert not re.search(Gate().diagnosis_code_regex, code)


def test_results_are_frozen_and_plain() -> None:
    (first, *_) = judge().rules
    assert {type(getattr(first, field.name)) for field in fields(first)} <= {str, int, float, bool, type(None)}
