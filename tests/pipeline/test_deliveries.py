"""Deliveries: what makes one, which of them make a batch, and what gates and people decide about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib import deliveries, extract, validate
from lib.decisions import discard_delivery, reinstate_delivery
from lib.errors import UsageError
from lib.files import read_json, read_lines
from lib.layout import Layout
from lib.manifest import Manifest
from lib.sources import files
from tests.pipeline.clinic import Clinic, RunResult, csv_text, row
from tests.pipeline.plain_gate import plain_gate

DAY_1, DAY_2, DAY_3, DAY_4 = (f"2025-03-0{day}T00:00:00Z" for day in (2, 3, 4, 5))


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def on(day: int, visit_id: str, **cells: str) -> dict[str, str]:
    """A row updated at noon of a day in March."""
    return row(visit_id, last_updated=f"2025-03-0{day}T12:00:00Z", **cells)


def half_bad(day: int, *visits: str) -> list[dict[str, str]]:
    """As many good rows as rows without a patient: held for two rules."""
    return [*(on(day, each) for each in visits), *(on(day, f"bad {each}", patient_id="") for each in visits)]


def batch_of(result: RunResult) -> tuple[str, list[int]]:
    assert result.run is not None
    batch = result.run.manifest["batch"]
    return batch["kind"], [each["sequence"] for each in batch["deliveries"]]


def costs(clinic: Clinic) -> dict[str, int]:
    return {visit: fact[2] for visit, fact in clinic.facts().items()}


def journal(clinic: Clinic) -> list[tuple[str, int, str]]:
    entries = read_lines(clinic.data_dir / "runs" / "decisions.jsonl")
    return [(each["decision"], each["delivery"], each["reason"]) for each in entries]


def snapshots(clinic: Clinic) -> list[Path]:
    return sorted((clinic.data_dir / "raw" / "clinic").glob("0*"))


# What makes a delivery


def test_a_b_a_are_three_deliveries_over_two_snapshots_and_the_last_wins(quick: Clinic) -> None:
    a, b = [on(1, "V1", visit_cost="1")], [on(1, "V1", visit_cost="2")]
    for rows, cents in ((a, 100), (b, 200), (a, 100)):
        quick.deliver(rows)
        assert quick.run().exit_code == 0
        assert costs(quick) == {"V1": cents}
    assert quick.statuses() == ["loaded"] * 3
    assert len(snapshots(quick)) == 2
    assert [each[0] for each in quick.query("SELECT snapshot FROM deliveries ORDER BY sequence")] == [
        snapshots(quick)[0].name, snapshots(quick)[1].name, snapshots(quick)[0].name,
    ]  # fmt: skip


def test_an_unchanged_path_is_no_delivery_and_the_last_batch_is_run_again(quick: Clinic) -> None:
    quick.deliver([on(1, "V1")])
    quick.run()
    before = quick.tables()
    quick.deliver([on(1, "V1")])
    result = quick.run(DAY_2)
    assert (result.exit_code, batch_of(result), quick.statuses()) == (0, ("repeat", [1]), ["loaded"])
    assert result.counts["unchanged"] == 1
    after = quick.tables()
    assert {name for name in before if before[name] != after[name]} == {"state"}, "only which run came last"


def test_a_folder_is_taken_file_by_file_in_name_order(quick: Clinic) -> None:
    for name, cost in (("9.csv", "9"), ("10.csv", "10"), ("a.csv", "1"), (".b.csv", "2")):
        quick.deliver([on(1, "V1", visit_cost=cost)], name)
    result = quick.run(source=quick.input.parent)
    assert (result.exit_code, batch_of(result)) == (0, ("new", [1, 2, 3]))
    names = [Path(each[0]).name for each in quick.query("SELECT path FROM deliveries ORDER BY sequence")]
    assert names == ["10.csv", "9.csv", "a.csv"], "no file whose name begins with a dot"
    assert costs(quick) == {"V1": 100}, "of equal stamps the one delivered last"
    assert (result.counts["rows_read"], result.counts["superseded"]) == (3, 2)


def test_a_glob_is_taken_in_name_order_and_only_news_of_it(quick: Clinic) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        quick.deliver([on(1, name)], name)
    pattern = quick.input.with_name("*.csv")
    assert batch_of(quick.run(source=pattern)) == ("new", [1, 2])
    assert set(quick.facts()) == {"a.csv", "b.csv"}
    quick.deliver([on(1, "a.csv", visit_cost="7")], "a.csv")
    result = quick.run(source=pattern)
    assert (batch_of(result), result.counts["updated"]) == (("new", [3]), 1)


@pytest.mark.parametrize("pattern", ["", "*.csv"])
def test_a_source_that_offers_nothing(pattern: str, quick: Clinic) -> None:
    result = quick.run(source=quick.input.parent / pattern)
    assert result.exit_code == 3
    assert result.message.startswith("the source offers no file and nothing was delivered before; check source.path")


def test_a_snapshot_is_private_and_read_only(quick: Clinic) -> None:
    quick.deliver([on(1, "V1")])
    quick.run()
    (snapshot,) = snapshots(quick)
    assert (snapshot.stat().st_mode & 0o777, snapshot.parent.stat().st_mode & 0o777) == (0o400, 0o700)
    assert snapshot.name.startswith("000001_20250302T000000Z_") and len(snapshot.stem.split("_")[2]) == 12


# Refused ones


def test_a_refused_file_is_tried_again_when_the_config_was_mended(quick: Clinic) -> None:
    quick.deliver(csv_text([on(1, "V1")]).replace("visit_id", "Id"))
    refused = quick.run()
    assert (refused.exit_code, quick.statuses()) == (3, ["refused"])
    assert quick.query("SELECT reason FROM deliveries") == [(refused.message,)]
    quick.config = {"columns": {"visit_id": "Id"}}
    result = quick.run()
    assert (result.exit_code, batch_of(result), quick.statuses()) == (0, ("new", [1]), ["loaded"])
    assert set(quick.facts()) == {"V1"}


def test_a_refused_file_that_is_no_longer_offered_is_not_tried_again(quick: Clinic) -> None:
    quick.deliver("0 columns\n")
    assert quick.run().exit_code == 3
    quick.deliver([on(1, "V1")])
    assert batch_of(quick.run()) == ("new", [2])
    assert batch_of(quick.run()) == ("repeat", [2])
    assert quick.statuses() == ["refused", "loaded"]


def test_several_are_refused_at_once_and_the_good_one_stays_pending(quick: Clinic) -> None:
    quick.deliver("canary\n", "a.csv")
    quick.deliver([on(1, "V1")], "b.csv")
    quick.deliver(csv_text([on(1, "V2")]).encode() + b"\xff", "c.csv")
    result = quick.run(source=quick.input.parent)
    assert result.exit_code == 3
    assert result.message.startswith("a.csv: none of the 7") and result.message.endswith("(and 1 more is refused)")
    assert quick.statuses() == ["refused", "pending", "refused"]
    reasons = [each[0] and each[0][:6] for each in quick.query("SELECT reason FROM deliveries ORDER BY sequence")]
    assert reasons == ["a.csv:", None, "c.csv:"]
    assert quick.facts() == {}
    result = quick.run(source=quick.input.parent)
    assert (result.exit_code, batch_of(result), set(quick.facts())) == (0, ("new", [2]), {"V1"})


def test_a_file_that_cannot_be_taken_leaves_those_before_it_pending(quick: Clinic) -> None:
    quick.deliver([on(1, "V1")], "a.csv")
    empty = quick.deliver("", "b.csv")
    result = quick.run(source=quick.input.parent)
    assert (result.exit_code, quick.statuses()) == (3, ["pending"])
    assert result.message.startswith("b.csv: is empty")
    empty.unlink()
    assert (quick.run(source=quick.input.parent).exit_code, quick.statuses()) == (0, ["loaded"])


def test_a_file_that_changes_while_it_is_read_is_refused_and_nothing_is_kept(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.deliver([on(1, "V1")])
    looks = iter(range(100))
    monkeypatch.setattr(files, "_fingerprint", lambda handle: (next(looks), 0, 0))
    result = quick.run()
    assert (result.exit_code, quick.statuses(), snapshots(quick)) == (3, [], [])
    assert result.message.startswith("visits.csv: changed twice while it was read")
    assert next(looks) == 4, "read twice"
    monkeypatch.undo()
    assert quick.run().exit_code == 0


def test_a_loaded_delivery_is_never_refused_by_a_config_that_changed(quick: Clinic) -> None:
    """It would take part in no refresh any more, and its visits would leave the tables."""
    quick.deliver([on(1, "V1")])
    assert quick.run(DAY_1).exit_code == 0
    before = quick.tables()
    quick.config = {"columns": {"visit_id": "Id"}}
    for full_refresh in (False, True):
        result = quick.run(DAY_2, full_refresh=full_refresh)
        assert (result.exit_code, quick.statuses(), quick.tables()) == (2, ["loaded"], before)
        assert result.message.startswith("visits.csv: 1 required column is missing (Id for visit_id)")
        assert "This is delivery 1, loaded before by another config" in result.message
    quick.deliver(csv_text([on(2, "V2")]).replace("visit_id", "Id"))
    assert quick.run(DAY_2).exit_code == 0, "a new delivery is not hindered"
    assert set(quick.facts()) == {"V1", "V2"}


# Snapshots that are not what they were


def altered(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"100.00", b"900.00"))


@pytest.mark.parametrize(("harm", "said"), [(altered, "is not what was received"), (Path.unlink, "is missing")])
def test_a_pending_snapshot_that_changed_stops_the_run_before_any_load(
    harm: Callable[[Path], None], said: str, quick: Clinic
) -> None:
    quick.deliver([on(1, "V0")], "a.csv")
    assert quick.run(source=quick.input.parent).exit_code == 0
    quick.deliver([on(1, "V1")], "b.csv")
    quick.deliver("canary\n", "c.csv")
    assert quick.run(source=quick.input.parent).exit_code == 3
    before = quick.tables()
    harm(snapshots(quick)[1])
    result = quick.run(source=quick.input.parent)
    assert result.exit_code == 6
    assert result.message.startswith(f"raw/clinic/{'000002'}_") and said in result.message
    assert (quick.tables(), quick.statuses()) == (before, ["loaded", "pending", "refused"])


@pytest.mark.parametrize("full_refresh", [False, True])
def test_a_loaded_snapshot_that_changed_is_told_when_it_is_read_again(full_refresh: bool, quick: Clinic) -> None:
    quick.deliver([on(1, "V1")])
    quick.run()
    before = quick.tables()
    altered(snapshots(quick)[0])
    assert quick.run(full_refresh=full_refresh).exit_code == 6
    assert quick.tables() == before


# Held ones


def test_a_held_delivery_that_is_still_offered_is_judged_again(clinic: Clinic) -> None:
    clinic.deliver(half_bad(1, "A", "B", "C"))
    held = clinic.run()
    assert (held.exit_code, clinic.statuses()) == (4, ["held"])
    assert held.failed_rules == {"missing_required_share", "refused_share"}
    again = clinic.run()
    assert (again.exit_code, batch_of(again)) == (4, ("held", [1]))
    clinic.config = {"gate": {"max_refused_share": 0.5, "max_missing_share": 0.5}}
    result = clinic.run()
    assert (result.exit_code, batch_of(result), clinic.statuses()) == (0, ("held", [1]), ["loaded"])
    assert set(clinic.facts()) == {"A", "B", "C"}


def test_a_held_delivery_joins_no_other_batch_and_is_warned_of(clinic: Clinic) -> None:
    clinic.deliver(half_bad(1, "A", "B", "C"))
    assert clinic.run(DAY_1).exit_code == 4
    clinic.deliver([on(2, "D")])
    result = clinic.run(DAY_2)
    assert (result.exit_code, batch_of(result), clinic.statuses()) == (0, ("new", [2]), ["held", "loaded"])
    assert result.message.startswith("PASSED WITH WARNINGS: held_deliveries 1 ")
    assert set(clinic.facts()) == {"D"}
    repeated = clinic.run(DAY_3)
    assert batch_of(repeated) == ("repeat", [2]), "it is no longer what the source offers"
    assert "held_deliveries 1" in repeated.message


def test_a_held_delivery_whose_file_is_gone_is_not_judged_again(quick: Clinic) -> None:
    folder = quick.input.parent
    quick.deliver([on(1, "V1")], "a.csv")
    assert quick.run(DAY_1, source=folder).exit_code == 0
    bad = quick.deliver(half_bad(2, "A", "B", "C"), "b.csv")
    assert quick.run(DAY_2, source=folder).exit_code == 4
    bad.unlink()
    result = quick.run(DAY_3, source=folder)
    assert (result.exit_code, batch_of(result), quick.statuses()) == (0, ("repeat", [1]), ["loaded", "held"])


def test_of_several_only_those_that_fail_by_themselves_are_held(clinic: Clinic) -> None:
    """The other is not loaded by this run, and is not held either."""
    clinic.deliver([on(1, f"G{number}") for number in range(3)], "a.csv")
    clinic.deliver(half_bad(1, "A", "B", "C"), "b.csv")
    assert clinic.run(source=clinic.input.parent).exit_code == 4
    assert (clinic.statuses(), clinic.facts()) == (["pending", "held"], {})
    assert batch_of(clinic.run(source=clinic.input.parent)) == ("new", [1])
    assert clinic.statuses() == ["loaded", "held"]


# Accepted ones


ALL_RULES = ("missing_required_share", "refused_share")


def test_an_accepted_delivery_passes_by_override_and_that_is_shown(clinic: Clinic) -> None:
    clinic.deliver(half_bad(1, "A", "B", "C"))
    clinic.run()
    result = clinic.run(accept=ALL_RULES)
    assert result.exit_code == 0 and result.message.startswith("PASSED BY OVERRIDE: ")
    assert result.run is not None
    assert Manifest.read(result.run.record)["gate"]["decision"] == "PASSED BY OVERRIDE"
    report = read_json(result.run.record / "dq_report.json")
    assert report["decision"] == "PASSED BY OVERRIDE"
    overridden = {each["id"] for each in report["rules"] if each["overridden"]}
    assert overridden == set(ALL_RULES) and not any(each["passed"] for each in report["rules"] if each["overridden"])
    assert clinic.statuses() == ["loaded"] and set(clinic.facts()) == {"A", "B", "C"}
    assert journal(clinic) == [("accept", 1, "a test")]
    assert len(clinic.query("SELECT * FROM quarantine")) == 3, "what was refused is refused"


def test_an_acceptance_is_of_what_was_seen_and_no_worse(clinic: Clinic) -> None:
    clinic.deliver([*half_bad(1, "A", "B"), on(1, "C", visit_cost="50"), on(1, "bad", patient_id="")])
    clinic.run()
    before = clinic.tables()
    clinic.config = {"rules": {"max_visit_cost": 99}}  # two of the good ones are refused as well now: 5 of 6, not 3
    worse = clinic.run(accept=ALL_RULES)
    assert (worse.exit_code, clinic.statuses(), clinic.tables()) == (4, ["held"], before)
    assert worse.message.startswith("FAILED: refused_share 83.33 % (limit ≤ 5.00 %, batch). Nothing was loaded; ")
    assert worse.failed_rules == set(ALL_RULES), "it is held for all that was found"
    assert "with --accept missing_required_share --accept refused_share --reason" in worse.message
    better = clinic.run(accept=ALL_RULES)
    assert better.exit_code == 0, "what was seen last is what is accepted"
    assert set(clinic.facts()) == {"C"}


def test_an_acceptance_is_for_once(clinic: Clinic) -> None:
    clinic.deliver(half_bad(1, "A", "B", "C"))
    clinic.run(DAY_1)
    clinic.run(DAY_1, accept=ALL_RULES)
    clinic.deliver(half_bad(2, "D", "E", "F"))
    assert clinic.run(DAY_2).exit_code == 4
    assert clinic.statuses() == ["loaded", "held"]


@pytest.mark.parametrize(
    "accept",
    [("refused_share",), ("unique_business_key",), ("row_conservation",), ("stale_data",), ("no_such_rule",)],
)
def test_what_cannot_be_accepted_is_a_usage_error_and_changes_nothing(accept: tuple[str, ...], quick: Clinic) -> None:
    quick.deliver(half_bad(1, "A", "B", "C"))
    assert quick.run().exit_code == 4
    before = quick.tables()
    result = quick.run(accept=accept)
    assert result.exit_code == 2
    assert result.message == (
        f"--accept {accept[0]}: the held deliveries failed missing_required_share, refused_share; accept all of these."
    )
    assert (quick.tables(), quick.statuses(), journal(quick)) == (before, ["held"], [])


@pytest.mark.parametrize("rule", ["unique_business_key", "row_conservation", "stale_data"])
def test_the_command_accepts_no_rule_that_judges_the_pipeline(rule: str, clinic: Clinic) -> None:
    clinic.deliver(half_bad(1, "A", "B", "C"))
    assert clinic.run().exit_code == 4
    ended = clinic.command("run", "--accept", "refused_share", "--accept", rule, "--reason", "a test")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith(
        f"--accept {rule}: not a rule that can be accepted; those are missing_required_share"
    )
    assert (clinic.statuses(), journal(clinic)) == (["held"], [])


def test_nothing_is_held_so_nothing_is_accepted(quick: Clinic) -> None:
    quick.deliver([on(1, "V1")])
    result = quick.run(accept=("refused_share",))
    assert (result.exit_code, quick.facts()) == (2, {})
    assert result.message == "--accept: no delivery is held; there is nothing to accept."
    assert quick.statuses() == ["pending"], "what was taken waits for the next run"


def test_a_delivery_accepted_late_does_not_overwrite_what_came_after_it(clinic: Clinic) -> None:
    clinic.deliver([*half_bad(1, "A", "B"), on(1, "C", visit_cost="1"), on(1, "bad", patient_id="")])
    clinic.run(DAY_1)
    clinic.deliver([on(1, "C", visit_cost="2")])
    assert clinic.run(DAY_2).exit_code == 0
    result = clinic.run(DAY_3, accept=ALL_RULES)
    assert (result.exit_code, batch_of(result)) == (0, ("held", [1]))
    assert costs(clinic) == {"A": 10000, "B": 10000, "C": 200}
    assert clinic.run(DAY_4, full_refresh=True).exit_code == 0
    assert costs(clinic) == {"A": 10000, "B": 10000, "C": 200}


# Discarded and reinstated ones


@pytest.fixture
def held(quick: Clinic) -> Clinic:
    """Delivery 1 loaded, delivery 2 held."""
    quick.deliver([on(1, "V1")])
    quick.run(DAY_1)
    quick.deliver(half_bad(2, "A", "B", "C"))
    assert quick.run(DAY_2).exit_code == 4
    return quick


def layout_of(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def test_a_discarded_delivery_takes_part_in_nothing(held: Clinic) -> None:
    said = discard_delivery(layout_of(held), "clinic", 2, "wrong month")
    assert said == "delivery 2 of clinic (visits.csv) is discarded now; it was held."
    assert held.query("SELECT status, reason FROM deliveries WHERE sequence = 2") == [("discarded", "wrong month")]
    assert journal(held) == [("discard", 2, "wrong month")]
    assert len(snapshots(held)) == 2, "its bytes stay"
    result = held.run(DAY_3)
    assert (result.exit_code, batch_of(result), result.counts["held_deliveries"]) == (0, ("repeat", [1]), 0)
    assert held.run(DAY_3, full_refresh=True).exit_code == 0
    assert (set(held.facts()), held.statuses()) == ({"V1"}, ["loaded", "discarded"])
    assert held.run(DAY_3, accept=("refused_share",)).exit_code == 2


def test_a_reinstated_delivery_is_pending_and_judged_anew(held: Clinic) -> None:
    discard_delivery(layout_of(held), "clinic", 2, "wrong month")
    said = reinstate_delivery(layout_of(held), "clinic", 2, "right after all")
    assert said == "delivery 2 of clinic (visits.csv) is pending now; it was discarded."
    assert held.query("SELECT status, reason FROM deliveries WHERE sequence = 2") == [("pending", None)]
    assert journal(held) == [("discard", 2, "wrong month"), ("reinstate", 2, "right after all")]
    held.config = {"gate": {"min_failing_rows": 9}}
    result = held.run(DAY_3)
    assert (result.exit_code, batch_of(result), held.statuses()) == (0, ("new", [2]), ["loaded", "loaded"])
    assert set(held.facts()) == {"V1", "A", "B", "C"}


def test_the_same_bytes_in_the_same_place_stay_discarded(held: Clinic) -> None:
    discard_delivery(layout_of(held), "clinic", 2, "wrong month")
    held.deliver(half_bad(2, "A", "B", "C"))
    assert batch_of(held.run(DAY_3)) == ("repeat", [1])
    assert held.statuses() == ["loaded", "discarded"]


Decide = Callable[[Layout, str, int, str], Any]


@pytest.mark.parametrize(
    ("decide", "source", "sequence", "said"),
    [
        (discard_delivery, "clinic", 1, "delivery 1 of clinic is loaded; only pending or held or refused ones can be"),
        (discard_delivery, "clinic", 9, "clinic has no delivery 9; see python run_pipeline.py deliveries."),
        (discard_delivery, "other", 2, "other has no delivery 2; see"),
        (reinstate_delivery, "clinic", 1, "delivery 1 of clinic is loaded; only discarded ones can be reinstated."),
        (reinstate_delivery, "clinic", 2, "delivery 2 of clinic is held; only discarded ones can be reinstated."),
    ],
)
def test_decisions_that_cannot_be_taken(decide: Decide, source: str, sequence: int, said: str, held: Clinic) -> None:
    with pytest.raises(UsageError) as caught:
        decide(layout_of(held), source, sequence, "because")
    assert str(caught.value).startswith(said)
    assert (held.statuses(), journal(held)) == (["loaded", "held"], [])


def test_a_delivery_is_discarded_once(held: Clinic) -> None:
    discard_delivery(layout_of(held), "clinic", 2, "once")
    with pytest.raises(UsageError, match="delivery 2 of clinic is discarded; only pending or held or refused ones"):
        discard_delivery(layout_of(held), "clinic", 2, "twice")
    assert journal(held) == [("discard", 2, "once")]


def test_the_ledger_is_read_no_more_often_for_many_files_than_for_one(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a folder in which files pile up makes every run slower than the one before."""
    reads = []
    read_ledger = deliveries.read_ledger

    def counted(*place: Any) -> Any:
        reads.append(place)
        return read_ledger(*place)

    for module in (deliveries, extract):
        monkeypatch.setattr(module, "read_ledger", counted)
    found = {}
    for new in (1, 30):
        for number in range(new):
            quick.deliver([on(1, f"V{new}-{number}")], f"{new}-{number:02d}.csv")
        reads.clear()
        assert quick.run(DAY_1, source=quick.input.parent).exit_code == 0
        found[new] = len(reads)
    assert 0 < found[30] <= found[1], found
    assert quick.statuses() == ["loaded"] * 31
