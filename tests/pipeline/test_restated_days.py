"""A load that would change more published days than the config allows is held; the count is what the load then does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.clinic import Clinic, row

FIRST = [row(f"V{day}", visit_date=f"2025-02-{day:02}") for day in range(1, 6)]
LIMIT = {"gate": {"max_restated_days": 2}}


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    clinic = Clinic(tmp_path, dict(LIMIT))
    clinic.deliver(FIRST)
    assert clinic.run().exit_code == 0  # five days, none of them published before
    return clinic


def moved(visit_id: str, day: str, hour: int = 13) -> dict[str, str]:
    return row(visit_id, visit_date=day, last_updated=f"2025-03-01T{hour}:00:00Z")


@pytest.mark.parametrize(
    ("rows", "days"),
    [
        ([moved("V1", "2025-02-01")], 1),  # corrected in place
        ([moved("V1", "2025-02-02")], 2),  # moved between published days
        ([moved("V1", "2025-02-09")], 1),  # moved to a new day
        ([moved("V9", "2025-02-10")], 0),  # a new visit on a new day
        ([row("V1", visit_date="2025-02-01")], 0),  # unchanged
        ([moved("V8", "2025-02-01"), moved("V9", "2025-02-01")], 1),  # two visits, one day
    ],
)
def test_published_days_are_counted_as_the_load_then_changes_them(
    clinic: Clinic, rows: list[dict[str, str]], days: int
) -> None:
    clinic.deliver(rows)
    result = clinic.run()
    assert result.exit_code == 0, result.message
    assert result.run is not None
    assert result.counts["restated_days"] == days == result.run.manifest["load"]["days_restated"]


def test_a_wider_restatement_is_held_and_accepted_once(clinic: Clinic) -> None:
    before = clinic.tables()
    clinic.deliver([moved("V1", "2025-02-02"), moved("V3", "2025-02-03")])
    result = clinic.run()
    assert result.exit_code == 4
    assert "restated_days 3 (limit ≤ 2, batch)" in result.message
    assert "--accept restated_days --reason TEXT" in result.message
    assert clinic.tables() == before
    assert clinic.statuses() == ["loaded", "held"]
    accepted = clinic.run(accept=("restated_days",))
    assert (accepted.exit_code, accepted.counts["restated_days"]) == (0, 3)
    assert clinic.statuses() == ["loaded", "loaded"]


def test_days_of_deleted_and_restored_visits_count(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, {"source": {"deliveries": "full", "deletes": "mark"}})
    for rows, days in ((FIRST, 0), (FIRST[:3], 2), (FIRST[:3], 0), (FIRST, 0), (FIRST[1:], 1)):
        clinic.deliver(rows)
        result = clinic.run()
        assert result.exit_code == 0, result.message
        assert result.run is not None
        assert result.counts["restated_days"] == days == result.run.manifest["load"]["days_restated"]


def test_a_full_refresh_is_not_stopped(clinic: Clinic) -> None:
    clinic.config["rules"] = {"min_visit_date": "2025-02-04"}
    result = clinic.run(full_refresh=True)
    assert result.exit_code == 4  # three of five rows are refused now: refused_share stops it, not its width
    assert "restated_days" not in result.message
