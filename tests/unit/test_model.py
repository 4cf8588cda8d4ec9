"""The oracle itself: against results worked out by hand, named by the known case they are, and against its own laws."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.histories import BASE, COSTS, Deliver, Run, histories, play, spelled, text_of, to_csv
from tests.model import Model, Result
from tests.model_rows import COLUMNS, Row
from tests.model_tables import Change, Metrics, daily_metrics, metric_changes

STAMPLESS = {name: name for name in COLUMNS if name != "last_updated"}
END = datetime(2026, 12, 31, tzinfo=UTC)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
MONDAY, TUESDAY = date(2025, 12, 1), date(2025, 12, 2)


def row(line: int, visit_id: str, cost: str = "10", stamp: str = "2025-12-06T12:00:00Z", **cells: str) -> Row:
    rest = {"patient_id": "p1", "provider_id": "d1", "diagnosis_code": "J45", "visit_date": "2025-12-01"}
    return Row(line, {"visit_id": visit_id, "visit_cost": cost, "last_updated": stamp, **rest, **cells})


def hours(count: float) -> datetime:
    return BASE + timedelta(hours=count)


def at(count: float) -> str:
    return spelled(hours(count), "Z")


def costs(model: Model) -> dict[str, int | None]:
    return {visit_id: fact.visit_cost_cents for (_, visit_id), fact in model.facts.items()}


def lineage(model: Model) -> dict[str, tuple[int, int]]:
    return {visit_id: fact.at for (_, visit_id), fact in model.facts.items()}


def loads(model: Model, clock: datetime, *rows: Row) -> Result:
    model.deliver(list(rows), clock)
    result = model.run(clock)
    assert result.passed, result.failures
    return result


# One row


def reasons(**cells: str) -> tuple[str, ...]:
    return Model().judge(row(2, **{"visit_id": "v1", **cells}), 1, BASE).reasons


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("0", 0), ("-0", 0), ("-0.00", 0), ("007", 700), ("0.005", 1), ("0.0049999999999999999999999", 0),
        ("1.115", 112), ("10000000", 1_000_000_000), (" 5\t", 500), ("", None),
        ("-0.001", "visit_cost_out_of_range"), ("10000000.001", "visit_cost_out_of_range"),
        ("9" * 5000, "visit_cost_out_of_range"),
        ("1e3", "invalid_visit_cost"), (".5", "invalid_visit_cost"), ("5.", "invalid_visit_cost"),
        ("+5", "invalid_visit_cost"), ("\uff11", "invalid_visit_cost"), ("\u00a05", "invalid_visit_cost"),
    ],
)  # fmt: skip
def test_a_cost_is_judged_exactly_then_rounded(text: str, cents: int | str | None) -> None:
    judged = Model().judge(row(2, "v1", cost=text), 1, BASE)
    assert (judged.reasons[0] if judged.version is None else judged.version.visit_cost_cents) == cents


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-12-05", "2025-12-05T00:00:00.000000"),
        ("2025-12-05 12:30", "2025-12-05T12:30:00.000000"),
        ("2025-12-05T12:30:01.5Z", "2025-12-05T12:30:01.500000"),
        ("2025-12-05T12:30:01.123456999", "2025-12-05T12:30:01.123456"),
        ("2025-12-05T12:30:00+0200", "2025-12-05T10:30:00.000000"),
        ("2025-12-05T12:30:00-05:30", "2025-12-05T18:00:00.000000"),
        ("2025-12-05Z", None), ("2025-12-05T24:00", None), ("2025-12-05T12:30:60", None), ("2025-12-05T12", None),
        ("2025-12-05T12:30:00+24:00", None), ("2025-12-05T12:30:00+02:60", None), ("2025-12-05T12:30:00 Z", None),
        ("2025-02-29", None), ("0000-01-01", None), ("20251205", None), ("2025-12-05T12:30:00+02", None),
        ("0001-01-01T00:00:00+00:01", None), ("9999-12-31T23:59-00:01", None),
    ],
)  # fmt: skip
def test_a_stamp_is_read_whole_or_not_at_all(text: str, utc: str | None) -> None:
    stamp = Model().read_stamp(text)
    assert (stamp and stamp.replace(tzinfo=None).isoformat(timespec="microseconds")) == utc


@pytest.mark.parametrize(
    ("local", "utc_hour"),
    [("2025-03-30T01:59", "00:59"), ("2025-03-30T02:30", "01:30"), ("2025-03-30T03:00", "01:00"),
     ("2025-10-26T01:59", "23:59"), ("2025-10-26T02:30", "00:30"), ("2025-10-26T03:00", "02:00")],
)  # fmt: skip
def test_a_skipped_hour_takes_the_offset_before_and_a_repeated_one_is_the_earlier(local: str, utc_hour: str) -> None:
    stamp = Model(timezone="Europe/Berlin").read_stamp(local)
    assert stamp is not None and stamp.strftime("%H:%M") == utc_hour


def test_a_visit_date_is_the_civil_date_as_written_and_judged_by_the_source_s_own_day() -> None:
    assert Model().read_date("2025-12-01T23:30:00-05:00") == MONDAY
    late_evening = datetime(2025, 12, 1, 23, 30, tzinfo=UTC)  # already the 2nd in Berlin, so the 3rd is "tomorrow"
    third = row(2, "v1", stamp="2025-12-01", visit_date="2025-12-03")
    assert Model().judge(third, 1, late_evening).reasons == ("visit_date_out_of_range",)
    assert Model(timezone="Europe/Berlin").judge(third, 1, late_evening).reasons == ()
    assert reasons(visit_date="1900-01-01") == ()
    assert reasons(visit_date="1899-12-31") == ("visit_date_out_of_range",)
    assert reasons(visit_date="0000-00-00") == ("invalid_visit_date",)


def test_declared_formats_are_tried_in_order_and_match_whole() -> None:
    model = Model(date_formats=("%m/%d/%Y", "iso"), stamp_formats=("%-d.%-m.%Y %H:%M",))
    assert model.read_date("12/01/2025") == model.read_date("2025-12-01") == MONDAY
    assert model.read_date("12/1/2025") is model.read_date("13/01/2025") is None
    assert model.read_stamp("6.12.2025 12:00") == BASE
    assert model.read_stamp("2025-12-06") is None


def test_a_text_is_trimmed_of_space_and_tab_only_and_kept_verbatim() -> None:
    judged = Model().judge(row(2, " \t00123 "), 1, BASE)
    assert judged.version is not None and judged.version.visit_id == "00123"
    assert reasons(visit_id="v" * 128) == ()
    assert (
        reasons(visit_id="v" * 129) == reasons(visit_id="v\u2060") == reasons(visit_id="\nv") == ("invalid_visit_id",)
    )
    assert reasons(visit_id="v\u00a01") == reasons(visit_id="NA") == ()


def test_forbidden_characters_end_exactly_where_the_contract_says() -> None:
    edges = ((0, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F))
    for low, high in (*edges, (0x2028, 0x202E), (0x2060, 0x206F), (0xFEFF, 0xFEFF)):
        for code in range(max(low - 1, 0), high + 2):
            expected = ("invalid_provider_id",) if low <= code <= high else ()
            assert reasons(provider_id=f"d{chr(code)}1") == expected


def test_a_refused_row_has_all_its_reasons_in_the_vocabulary_s_order() -> None:
    everything = dict.fromkeys(COLUMNS, "\x00") | {"visit_id": " ", "visit_cost": "-1"}
    assert Model().judge(Row(2, everything), 1, BASE).reasons == (
        "missing_visit_id", "invalid_patient_id", "invalid_provider_id", "invalid_diagnosis_code",
        "invalid_visit_date", "visit_cost_out_of_range", "invalid_last_updated",
    )  # fmt: skip
    assert reasons(stamp=at(5 / 60)) == ()
    assert reasons(stamp="2025-12-06T12:05:00.000001Z") == ("future_last_updated",)
    assert Model().judge(Row(2, malformed="v1,p1"), 1, BASE).reasons == ("malformed_row",)


def test_row_hash_is_of_the_seven_values_and_a_stampless_source_leaves_the_stamp_empty() -> None:
    text = "v1\x1fp1\x1fd1\x1f\x1f2025-12-01\x1f10.50\x1f2025-12-06T12:00:00.000000+00:00"
    cells = row(2, "v1", cost="10.5", diagnosis_code="")
    stamped = Model().judge(cells, 1, BASE).version
    stampless = Model(names=STAMPLESS).judge(cells, 1, hours(1)).version
    assert stamped and stamped.row_hash == sha256(text.encode()).hexdigest()
    assert stampless and stampless.row_hash == sha256((text.rpartition("\x1f")[0] + "\x1f").encode()).hexdigest()
    assert stampless.last_updated == hours(1)


# Histories


def test_case_2_rows_exactly_at_the_cutoff_are_read_again_and_change_nothing() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1", stamp=at(0)), row(3, "v2", stamp=at(-24)))
    before = dict(model.facts)
    outside = row(4, "v4", stamp="2025-12-05T11:59:59.999999Z")
    result = loads(model, hours(1), row(2, "v2", stamp=at(-24)), row(3, "v3", stamp=at(-24)), outside)
    assert result.cutoff == hours(-24)
    counts = result.counts
    assert (counts.unchanged, counts.inserted, counts.outside_missed) == (1, 1, 1)
    assert model.facts.items() >= before.items() and ("clinic", "v3") in model.facts
    assert model.watermark == BASE


def test_case_5_a_row_beyond_the_window_is_missed_with_the_lookback_it_needs_and_a_full_refresh_heals() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1"), row(3, "v2", stamp=at(-30)))
    late = [
        row(2, "v1", "11"), row(3, "late", stamp=at(-60)), row(4, "v2", "12", stamp=at(-29)),
        row(5, "v2", stamp=at(-30)), row(6, "v1", "1", stamp=at(-50)), row(7, "v1", cost="x", stamp=at(-50)),
    ]  # fmt: skip
    counts = loads(model, hours(1), *late).counts
    assert (counts.outside_missed, counts.outside_held, counts.outside_invalid) == (2, 2, 1)
    assert counts.missed_needs == timedelta(hours=60)
    assert counts.rows_read == 6 and (counts.refused, counts.updated) == (0, 1)
    assert costs(model) == {"v1": 1100, "v2": 1000}
    assert model.run(hours(2), full_refresh=True).passed
    assert costs(model) == {"v1": 1100, "v2": 1200, "late": 1000}
    assert set(model.quarantine) == {(2, 7)}


def test_case_12_the_greater_version_wins_and_ties_go_to_the_later_delivered() -> None:
    model = Model()
    loads(model, hours(3), row(2, "v1", "10", stamp=at(2)))
    assert loads(model, hours(3), row(2, "v1", "99", stamp=at(1))).counts.unchanged == 1
    assert costs(model) == {"v1": 1000}
    result = loads(model, hours(3), row(2, "v1", "20", stamp=at(2)), row(3, "v1", "15", stamp=at(2)))
    assert costs(model) == {"v1": 1500} and lineage(model) == {"v1": (3, 3)}
    assert (result.counts.same_stamp_changes, result.counts.updated, result.counts.superseded) == (1, 1, 1)


def test_lineage_is_the_earliest_of_the_equal_versions_that_end_the_order() -> None:
    a, b = row(2, "v1", "10"), row(2, "v1", "20")
    model = Model()
    loads(model, BASE, a)
    assert loads(model, BASE, a, row(3, "v1", "10")).counts.unchanged == 1
    assert lineage(model) == {"v1": (1, 2)}
    loads(model, BASE, b)
    loads(model, BASE, a)
    assert lineage(model) == {"v1": (4, 2)} and costs(model) == {"v1": 1000}


def test_a_same_stamp_change_is_counted_once_a_visit_and_only_when_it_changes_the_table() -> None:
    model = Model()
    rows = [row(2, "v1", "20"), row(3, "v1", "10"), row(4, "v1", "20"), row(5, "v2"), row(6, "v2")]
    assert loads(model, BASE, *rows).counts.same_stamp_changes == 1
    assert model.run(BASE).counts.same_stamp_changes == 0
    assert loads(model, BASE, row(2, "v2", "11")).counts.same_stamp_changes == 1
    assert loads(model, BASE, row(2, "v2", "12", stamp="2025-12-06T12:00:00.000001Z")).counts.same_stamp_changes == 0


def test_case_13_a_moved_visit_changes_both_days_and_an_emptied_day_goes() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1", "10.01"), row(3, "v2", "", visit_date="2025-12-02", patient_id="p2"))
    one, other = Metrics(1, 1, 1001, 1001, 0), Metrics(1, 1, 0, None, 1)
    assert model.daily() == {MONDAY: one, TUESDAY: other}
    moved = row(2, "v1", "10.01", stamp=at(1), visit_date="2025-12-02")
    result = loads(model, hours(1), moved, row(3, "v2", "20", stamp=at(1), visit_date="2025-12-02"))
    both = Metrics(2, 1, 3001, 1501, 0)  # 15.005 is 15.01; p1 twice
    assert model.daily() == {TUESDAY: both}
    assert result.changes == {
        MONDAY: Change(one, None, moved_out=1),
        TUESDAY: Change(other, both, corrected=1, moved_in=1),
    }


def test_case_15_a_refused_version_corrected_later_loads_and_answers_its_entry() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1", "x"), row(3, "v2", "x"), row(4, "v3"))
    assert model.corrected_by() == {(1, 2): None, (1, 3): None}
    loads(model, hours(1), row(2, "v1", stamp=at(1)), row(3, "v2"))
    assert model.corrected_by() == {(1, 2): (2, 2), (1, 3): (2, 3)}
    assert costs(model) == {"v1": 1000, "v2": 1000, "v3": 1000}


def test_case_16_a_refused_newer_version_leaves_the_older_good_one_and_its_entry_open() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1"))
    loads(model, hours(1), row(2, "v1", "x", stamp=at(1)), row(3, "v2", stamp=at(1)))
    assert costs(model)["v1"] == 1000 and model.corrected_by() == {(2, 2): None}


def test_an_entry_is_answered_by_the_first_greater_version_and_never_by_an_older_one() -> None:
    model = Model(max_share=Fraction(1))
    loads(model, BASE, row(2, "v1", "x"), row(3, "v2", stamp=at(1)), row(4, "v3", stamp="?"), row(5, "v4"))
    loads(model, hours(1), row(2, "v1", stamp=at(-1)), row(3, "v2", stamp=at(-1)), row(4, "v3", stamp=at(-1)))
    assert model.corrected_by() == {(1, 2): None, (1, 3): (2, 3), (1, 4): (2, 4)}
    loads(model, hours(3), row(2, "v1", stamp=at(3)), row(3, "v1", stamp=at(2)))
    assert model.corrected_by()[1, 2] == (3, 3)


def test_a_waived_entry_is_open_again_after_its_last_day_and_is_answered_all_the_same() -> None:
    model = Model(max_share=Fraction(1))
    loads(model, BASE, row(2, "v1", "x"), row(3, "v2", "x"), row(4, "v3"))
    for entry in model.entries.values():
        model.waive(entry, BASE.date())
    assert [entry.status for entry in model.entries.values()] == ["waived", "waived"]
    loads(model, hours(1), row(2, "v2", stamp=at(1)))
    assert [entry.status for entry in model.entries.values()] == ["waived", "superseded"]
    assert model.run(hours(24)).passed
    assert [entry.status for entry in model.entries.values()] == ["open", "superseded"]


def test_case_18_the_same_bytes_change_nothing_and_together_is_as_one_after_the_other() -> None:
    a, b = [row(2, "v1"), row(3, "v2")], [row(2, "v2", "20"), row(3, "v3")]
    apart, together = Model(), Model()
    loads(apart, BASE, *a)
    assert apart.deliver(list(a), hours(1)) is None
    again = apart.run(hours(1))
    assert (again.new_batch, again.batch, again.counts.unchanged, again.changes) == (False, (1,), 2, {})
    loads(apart, BASE, *b)
    together.deliver(a, BASE)
    together.deliver(b, BASE)
    assert together.run(BASE).passed
    assert apart.facts == together.facts and apart.watermark == together.watermark


def test_case_18_without_stamps_a_b_a_ends_at_a_and_an_equal_row_is_not_restamped() -> None:
    model = Model(names=STAMPLESS)
    for day, cost in enumerate(("10", "20", "10", "10")):
        model.deliver([row(2, "v1", cost), row(3, f"filler {day}")], hours(24 * day))
        assert model.run(hours(24 * day)).passed
    fact = model.facts["clinic", "v1"]
    assert (fact.visit_cost_cents, fact.at, fact.last_updated) == (1000, (3, 2), hours(48))


def test_case_23_a_future_stamp_is_refused_by_its_own_delivery_s_clock_in_every_later_run() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1"), row(3, "v2", stamp=at(48)))
    assert model.watermark == BASE and costs(model) == {"v1": 1000}
    assert model.run(hours(72), full_refresh=True).counts.reasons == Counter(future_last_updated=1)
    assert model.watermark == BASE and costs(model) == {"v1": 1000}


def test_the_watermark_never_passes_the_as_of_time() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1", stamp=at(4 / 60)))
    assert model.watermark == BASE


# The gate


def test_case_14_a_bad_delivery_is_held_alone_and_neither_blocks_nor_is_diluted() -> None:
    model = Model()
    good = [row(line, f"v{line}") for line in range(2, 102)]
    model.deliver([row(2, "a", "x"), row(3, "b", "x"), row(4, "c", "x"), row(5, "d")], BASE, "bad.csv")
    model.deliver(good, BASE, "good.csv")
    result = model.run(BASE)
    assert not result.passed and result.failures == {"refused_share": {1}}  # 3 of 104 together, 3 of 4 by itself
    assert (model.facts, model.quarantine, model.watermark, result.changes) == ({}, {}, None, {})
    assert model.run(BASE).batch == (2,) and len(model.facts) == 100
    assert model.run(BASE).failures == {"refused_share": {0, 1}}
    assert model.run(BASE, accept=["refused_share"]).passed
    assert len(model.facts) == 101 and model.deliveries[1].status == "loaded"


def test_a_held_delivery_that_the_source_has_replaced_is_offered_no_more() -> None:
    model = Model()
    model.deliver([], BASE)
    assert model.run(BASE).failures == {"zero_row_load": {0, 1}}
    assert [delivery.sequence for delivery in model.batch()] == [1]
    loads(model, hours(1), row(2, "v1"))
    assert [delivery.sequence for delivery in model.batch()] == [2]


def test_a_batch_that_fails_only_as_a_whole_is_held_as_a_whole() -> None:
    model = Model()
    model.deliver([row(2, "a", "x"), row(3, "b", "x"), row(4, "c")], BASE, "1.csv")
    model.deliver([row(2, "d", "x"), row(3, "e")], BASE, "2.csv")
    assert model.run(BASE).failures == {"refused_share": {0}}
    assert [delivery.status for delivery in model.deliveries.values()] == ["held", "held"]


def test_case_19_a_full_refresh_leaves_no_row_that_no_delivery_supports_and_may_lower_the_watermark() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1", stamp=at(-1)))
    loads(model, BASE, row(2, "v2"))
    model.deliveries[2].status = "discarded"
    result = model.run(hours(1), full_refresh=True)
    assert costs(model) == {"v1": 1000} and result.watermark == hours(-1)
    assert result.changes == {MONDAY: Change(Metrics(2, 1, 2000, 1000, 0), Metrics(1, 1, 1000, 1000, 0), removed=1)}


FULL = {"full": True, "marks_deletes": True, "max_share": Fraction(1)}


def deleted(model: Model) -> dict[str, tuple[datetime, int]]:
    return {visit_id: since for (_, visit_id), since in model.deleted.items()}


def test_case_19_a_visit_that_a_full_delivery_lacks_is_marked_leaves_the_metrics_and_stays_in_the_facts() -> None:
    model = Model(**FULL)
    loads(model, BASE, row(2, "v1"), row(3, "v2", visit_date="2025-12-02"))
    result = loads(model, hours(1), row(2, "v1"))
    assert deleted(model) == {"v2": (hours(1), 2)} and set(costs(model)) == {"v1", "v2"}
    assert list(model.daily()) == [MONDAY]
    assert result.changes == {TUESDAY: Change(Metrics(1, 1, 1000, 1000, 0), None, deleted=1)}
    assert (result.counts.absent_visits, result.counts.visits_deleted, result.counts.visits_restored) == (1, 1, 0)
    assert loads(model, hours(2), row(2, "v1", "11")).counts.visits_deleted == 0  # it was deleted before
    assert deleted(model) == {"v2": (hours(1), 2)}


@pytest.mark.parametrize(
    "again",
    [
        row(3, "v2"), row(3, " v2\t"), row(3, "v2", "x"), row(3, "v2", stamp=at(-90)), row(3, "v2", "x", stamp=at(-90)),
    ],
    ids=["unchanged", "with spaces", "refused", "outside", "refused and outside"],
)  # fmt: skip
def test_case_19_a_deleted_visit_comes_back_when_its_id_is_read_again_however(again: Row) -> None:
    model = Model(**FULL)
    loads(model, BASE, row(2, "v1"), row(3, "v2"))
    loads(model, hours(1), row(2, "v1"))
    result = loads(model, hours(2), row(2, "v1"), again)
    assert deleted(model) == {} and result.counts.visits_restored == 1
    assert result.changes == {MONDAY: Change(Metrics(1, 1, 1000, 1000, 0), Metrics(2, 1, 2000, 1000, 0), restored=1)}


@pytest.mark.parametrize(
    "unreadable",
    [row(3, " "), row(3, "v\u200b2"), Row(3, malformed="v2,p1")],
    ids=["blank", "forbidden character", "malformed"],
)
def test_case_19_a_delivery_with_an_id_that_cannot_be_read_implies_no_delete(unreadable: Row) -> None:
    model = Model(**FULL)
    loads(model, BASE, row(2, "v1"), row(3, "v2"))
    result = loads(model, hours(1), row(2, "v1"), unreadable)
    assert deleted(model) == {} and result.counts.absent_visits is None
    loads(model, hours(2), row(2, "v2"), unreadable)  # it cannot tell that v1 is gone, but that v2 is there
    assert deleted(model) == {}


def test_case_19_deletes_are_as_delivered_whatever_order_runs_load_them_in() -> None:
    model = Model(**FULL | {"max_share": Fraction(1, 20)})
    loads(model, BASE, row(2, "v1"), row(3, "v2"))
    model.deliver([row(2, "v2"), *(row(line, f"b{line}", "x") for line in (3, 4, 5))], hours(1))
    assert not model.run(hours(1)).passed
    loads(model, hours(2), row(2, "v1", "11"))
    assert deleted(model) == {"v2": (hours(2), 3)}
    assert model.run(hours(3), accept=["refused_share"]).counts.absent_visits is None  # a newer one is loaded
    assert deleted(model) == {"v2": (hours(2), 3)}  # v1 was absent from the second, and is back in the third
    before = dict(model.facts), dict(model.deleted)
    model.run(hours(4), full_refresh=True)
    assert (model.facts, model.deleted) == before


def test_case_19_a_visit_inserted_and_deleted_in_one_batch_is_neither() -> None:
    model = Model(**FULL)
    loads(model, BASE, row(2, "v1"))
    model.deliver([row(2, "v1"), row(3, "v2", stamp=at(-1))], hours(1))
    model.deliver([row(2, "v1", "11")], hours(2))
    result = model.run(hours(2))
    assert deleted(model) == {"v2": (hours(2), 3)}
    assert (result.counts.inserted, result.counts.visits_deleted) == (1, 0)
    before, after = Metrics(1, 1, 1000, 1000, 0), Metrics(1, 1, 1100, 1100, 0)
    assert result.changes == {MONDAY: Change(before, after, corrected=1)}


def test_case_19_without_marks_absence_is_only_counted_and_of_increments_not_even_that() -> None:
    report, increments = Model(full=True), Model()
    for model in (report, increments):
        loads(model, BASE, row(2, "v1"), row(3, "v2"))
    assert loads(report, hours(1), row(2, "v1")).counts.absent_visits == 1
    assert loads(increments, hours(1), row(2, "v1")).counts.absent_visits is None
    assert (report.deleted, increments.deleted) == ({}, {})
    assert report.run(hours(2)).counts.absent_visits is None  # nothing new came


def test_late_versions_are_told_by_whole_hours_behind_the_watermark() -> None:
    model = Model(max_share=Fraction(1))
    assert loads(model, BASE, row(2, "v1"), row(3, "v2", stamp=at(-30))).lateness == {}
    rows = [
        row(2, "new", stamp=at(0)), row(3, "late", stamp=at(-0.5)), row(4, "v1", "11"), row(5, "hour", stamp=at(-1)),
        row(6, "refused", "x", stamp=at(-2)), row(7, "missed", stamp=at(-24.1)), row(8, "v2", stamp=at(-30)),
    ]  # fmt: skip
    result = loads(model, hours(1), *rows)
    assert result.lateness == {0: (2, 0), 1: (2, 0), 25: (0, 1)}
    assert result.changes[MONDAY].inserted == 3 and result.changes[MONDAY].late == 2
    assert model.run(hours(1)).lateness == {25: (0, 1)}  # the last batch again misses it again


def test_case_24_rows_refused_before_do_not_fail_a_later_increment() -> None:
    model = Model()
    broken = [row(line, f"b{line}", "x") for line in (2, 3, 4)]
    loads(model, BASE, *broken, *(row(line, f"v{line}") for line in range(5, 65)))
    counts = loads(model, hours(1), *broken, row(5, "v5", "11")).counts
    assert (counts.refused, counts.known_refused, counts.newly_refused) == (3, 3, 0)


def test_case_25_a_batch_of_old_rows_is_a_zero_row_load_but_the_last_batch_again_is_not() -> None:
    model = Model()
    loads(model, BASE, row(2, "v1"))
    model.deliver([row(2, "v1", stamp=at(-100))], hours(1))
    assert model.run(hours(1)).failures == {"zero_row_load": {0, 2}}
    assert model.run(hours(1), full_refresh=True).batch == (1,)


# Laws


def written(text: str, quote: str = '"') -> list[int]:
    """Physical lines on which records start, found by counting quotes: an independent look at to_csv."""
    starts, line, inside = [], 1, False
    for physical in text.split("\n")[:-1]:
        if not inside and physical and line > 1:
            starts.append(line)
        inside ^= physical.count(quote) % 2 == 1
        line += 1
    return starts


@given(histories())
@UNHURRIED
def test_to_csv_reports_the_line_on_which_each_record_starts(history: list[Deliver | Run]) -> None:
    for step in history:
        if isinstance(step, Deliver):
            assert [each.line for each in to_csv(step.items)[1]] == written(text_of(step))


@given(histories(), st.booleans())
@UNHURRIED
def test_every_run_conserves_its_rows_and_a_failed_one_changes_nothing(
    history: list[Deliver | Run], stamped: bool
) -> None:
    model = Model() if stamped else Model(names=STAMPLESS)
    before, watermark, entries = dict(model.facts), model.watermark, 0
    for run, result in play(history, model):
        assert result.counts.rows_read == sum(len(model.deliveries[sequence].rows) for sequence in result.batch)
        for each in (result.counts, *result.by_delivery.values()):
            outside = each.outside_held + each.outside_missed + each.outside_invalid
            assert each.rows_read == outside + each.refused + each.superseded + each.staged
            assert each.staged == each.inserted + each.updated + each.unchanged
        assert result.passed or (model.facts, model.watermark, len(model.quarantine)) == (before, watermark, entries)
        if result.passed and not result.new_batch and not run.full_refresh:
            assert model.facts == before and len(model.quarantine) == entries
        assert model.watermark is None or model.watermark <= run.as_of
        assert run.full_refresh or watermark is None or (model.watermark or watermark) >= watermark
        changes = metric_changes(before, model.facts, watermark=watermark)
        assert result.changes == (changes if result.passed else {})
        before, watermark, entries = dict(model.facts), model.watermark, len(model.quarantine)
        assert sum(day.visit_count for day in model.daily().values()) == len(model.facts)


@given(histories(refreshes=False), st.booleans())
@UNHURRIED
def test_incremental_runs_and_a_full_refresh_agree_when_nothing_is_missed(
    history: list[Deliver | Run], stamped: bool
) -> None:
    model = Model(lookback_hours=1e5, max_share=Fraction(1), names={n: n for n in COLUMNS} if stamped else STAMPLESS)
    for _, result in play(history, model):
        assert result.counts.outside_missed == 0
    incremental = dict(model.facts), model.daily(), set(model.quarantine)
    model.deliveries = {number: each for number, each in model.deliveries.items() if each.status == "loaded"}
    assert model.run(END, full_refresh=True).passed
    assert (model.facts, model.daily(), set(model.quarantine)) == incremental


def test_two_sources_share_a_warehouse_without_touching_each_other() -> None:
    one, two = Model(source="one"), Model(source="two")
    loads(one, BASE, row(2, "v1", "10"))
    loads(two, BASE, row(2, "v1", "20"))
    assert daily_metrics(one.facts | two.facts) == {MONDAY: Metrics(2, 2, 3000, 1500, 0)}


def test_the_small_domain_s_costs_are_all_good() -> None:
    assert all(reasons(cost=text) == () for text in COSTS)
