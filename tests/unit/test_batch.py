"""The batch rule: which deliveries make a run's batch, and what it is called."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lib.clock import parse_instant
from lib.decisions import discard_delivery, reinstate_delivery
from lib.deliveries import (
    Batch,
    Delivery,
    Standing,
    append_delivery,
    choose_batch,
    ledger_file,
    mark,
    standings,
    sync_ledger,
)
from lib.errors import UsageError
from lib.files import append_line, write_json
from lib.layout import Layout
from lib.restore import restore_marks
from lib.warehouse import open_warehouse


def delivery(sequence: int, path: str = "", source: str = "clinic") -> Delivery:
    name = path or f"{sequence}.csv"
    return Delivery(source, sequence, name, "0" * 64, 1, name, "2025-03-01T00:00:00.000000+00:00", "000001-x")


def standing(sequence: int, status: Any, path: str = "", **facts: Any) -> Standing:
    return Standing(delivery(sequence, path), status, **facts)


def chosen(batch: Batch) -> tuple[str, list[int], list[int]]:
    return batch.kind, [each.sequence for each in batch.deliveries], [each.sequence for each in batch.context]


EVERY = {f"{sequence}.csv" for sequence in range(1, 10)}
LOADED = [standing(1, "loaded", run_id="000001-x"), standing(2, "loaded", run_id="000002-x")]


def test_all_pending_ones_and_no_held_one_make_the_batch() -> None:
    known = [*LOADED, standing(3, "held"), standing(4, "pending"), standing(5, "pending"), standing(6, "refused")]
    assert chosen(choose_batch(known, EVERY)) == ("new", [4, 5], [])


def test_later_loaded_deliveries_take_part_in_the_order_of_versions_only() -> None:
    known = [standing(1, "loaded", run_id="1"), standing(2, "pending"), standing(3, "loaded", run_id="2")]
    assert chosen(choose_batch(known, EVERY)) == ("new", [2], [3])
    assert chosen(choose_batch([standing(1, "held", failed_rules={"a": 1.0}), *LOADED[1:]], EVERY, accept=("a",))) == (
        "held", [1], [2],
    )  # fmt: skip


def test_without_pending_ones_the_held_that_are_still_offered() -> None:
    known = [*LOADED, standing(3, "held"), standing(4, "held"), standing(5, "held", path="4.csv")]
    assert chosen(choose_batch(known, EVERY)) == ("held", [3, 5], [])
    assert chosen(choose_batch(known, {"4.csv"})) == ("held", [5], [])


def test_a_refused_one_that_is_still_offered_is_tried_again_after_those() -> None:
    known = [*LOADED, standing(3, "refused")]
    assert chosen(choose_batch(known, EVERY)) == ("new", [3], [])
    assert chosen(choose_batch([*known, standing(4, "held")], EVERY)) == ("held", [4], [])
    assert chosen(choose_batch(known, {"9.csv"})) == ("repeat", [2], [])


def test_else_the_last_loaded_batch_again_or_nothing() -> None:
    assert chosen(choose_batch([*LOADED, standing(3, "discarded")], EVERY)) == ("repeat", [2], [])
    both = [standing(1, "loaded", run_id="000009-x"), standing(2, "loaded", run_id="000001-x")]
    assert chosen(choose_batch(both, EVERY)) == ("repeat", [1], [2])
    assert chosen(choose_batch([standing(1, "discarded")], EVERY)) == ("nothing", [], [])
    assert chosen(choose_batch([], set())) == ("nothing", [], [])


def test_accepted_are_all_held_that_failed_nothing_else_while_pending_ones_wait() -> None:
    known = [
        standing(1, "held", failed_rules={"a": 0.5}),
        standing(2, "held", failed_rules={"a": 0.5, "b": 0.5}),
        standing(3, "pending"),
    ]
    assert chosen(choose_batch(known, set(), accept=("a",))) == ("held", [1], [])
    assert chosen(choose_batch(known, set(), accept=("b", "a"))) == ("held", [1, 2], [])


def test_nothing_to_accept_is_a_usage_error_that_names_what_failed() -> None:
    with pytest.raises(UsageError, match="no delivery is held"):
        choose_batch(LOADED, EVERY, accept=("a",))
    with pytest.raises(UsageError, match="failed a, b; accept all"):
        choose_batch([standing(1, "held", failed_rules={"a": 0.5, "b": 0.5})], EVERY, accept=("a",))


def test_a_full_refresh_takes_what_is_loaded_or_pending_and_the_accepted() -> None:
    known = [*LOADED, standing(3, "held", failed_rules={"a": 1.0}), standing(4, "refused"), standing(5, "discarded")]
    known.append(standing(6, "pending"))
    assert chosen(choose_batch(known, set(), full_refresh=True)) == ("refresh", [1, 2, 6], [])
    assert chosen(choose_batch(known, set(), full_refresh=True, accept=("a",))) == ("refresh", [1, 2, 3, 6], [])


@pytest.mark.parametrize(("kind", "is_new"), [("new", True), ("held", True), ("repeat", False), ("refresh", False)])
def test_a_batch_is_new_unless_it_was_loaded_before(kind: Any, is_new: bool) -> None:
    assert Batch(kind).is_new is is_new


# The ledger and the marks


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path / "data", None)
    made.create()
    (made.raw / "clinic").mkdir()
    (made.raw / "other").mkdir()
    return made


def statuses(layout: Layout, source: str = "clinic") -> list[str]:
    connection = open_warehouse(layout, rebuild=True)
    try:
        sync_ledger(layout, connection, source)
        restore_marks(layout, connection, source)
        return [each.status for each in standings(connection, source)]
    finally:
        connection.close()


def record_run(layout: Layout, run_id: str, started: str, *marks: dict[str, Any], source: str = "clinic") -> None:
    layout.record(run_id).mkdir()
    content = {"source": source, "started": parse_instant(started).isoformat(), "marks": list(marks)}
    write_json(layout.record(run_id) / "manifest.json", content)


def test_a_taken_delivery_is_pending_in_the_warehouse_even_when_a_crash_came_between(layout: Layout) -> None:
    connection = open_warehouse(layout)
    append_delivery(layout, delivery(1))
    sync_ledger(layout, connection, "clinic")
    connection.close()
    append_line(ledger_file(layout, "clinic"), asdict(delivery(2)))
    with ledger_file(layout, "clinic").open("ab") as torn:
        torn.write(b'{"source": "clinic", "seq')
    assert statuses(layout) == ["pending", "pending"]


def test_a_lost_warehouse_gets_its_marks_back_from_records_and_decisions_the_last_one_counting(layout: Layout) -> None:
    for sequence in range(1, 6):
        append_line(ledger_file(layout, "clinic"), asdict(delivery(sequence)))
    held = {"status": "held", "failed_rules": {"refused_share": 0.5}}
    assert statuses(layout) == ["pending"] * 5
    discard_delivery(layout, "clinic", 4, "sent by mistake")
    discard_delivery(layout, "clinic", 5, "sent by mistake")
    reinstate_delivery(layout, "clinic", 5, "it was none")
    record_run(layout, "000001-a", "2025-01-01T00:00:00Z", {"sequence": 1, **held}, {"sequence": 2, **held})
    record_run(layout, "000002-b", "2025-01-02T00:00:00Z", {"sequence": 1, "status": "loaded"})
    record_run(layout, "000003-c", "2025-01-03T00:00:00Z", {"sequence": 3, "status": "refused"})
    record_run(layout, "000004-d", "2999-01-01T00:00:00Z", {"sequence": 5, **held})  # after it was reinstated
    layout.record("000005-e").mkdir()
    layout.warehouse.unlink()
    assert statuses(layout) == ["pending", "held", "refused", "discarded", "held"]
    connection = open_warehouse(layout)
    assert standings(connection, "clinic")[1].failed_rules == {"refused_share": 0.5}
    connection.close()


def test_the_marks_of_one_source_do_not_hinder_another_s(layout: Layout) -> None:
    append_line(ledger_file(layout, "clinic"), asdict(delivery(1)))
    append_line(ledger_file(layout, "other"), asdict(delivery(1, source="other")))
    for source in ("clinic", "other"):
        record_run(
            layout, f"00000{len(source)}-{source}", "2025-01-01T00:00:00Z", {"sequence": 1, "status": "refused"},
            source=source,
        )  # fmt: skip
    assert statuses(layout, "clinic") == ["refused"]
    assert statuses(layout, "other") == ["refused"]


def test_marks_are_given_back_only_where_there_is_none(layout: Layout) -> None:
    for sequence in (1, 2):
        append_line(ledger_file(layout, "clinic"), asdict(delivery(sequence)))
    connection = open_warehouse(layout)
    sync_ledger(layout, connection, "clinic")
    mark(connection, delivery(1), "loaded", run_id="000001-a", header=["visit_id"])
    connection.close()
    record_run(layout, "000001-a", "2025-01-01T00:00:00Z", {"sequence": 2, "status": "held", "failed_rules": {}})
    assert statuses(layout) == ["loaded", "pending"]
