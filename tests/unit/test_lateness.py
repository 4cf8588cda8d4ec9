from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lib.lateness import EDGES, bins_frame, covering_text, missed_text, punctual_text
from lib.loads import covering_lookback
from lib.warehouse import reading
from tests.pipeline.clinic import Clinic, RunResult, row


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    return Clinic(tmp_path)


def at(hour: str, visit_id: str) -> dict[str, str]:
    return row(visit_id, last_updated=f"2025-03-{hour}:00Z")


def test_whole_hours_fall_into_bins_open_below_and_closed_above() -> None:
    hours = pd.DataFrame(
        {"hours": [0, 1, 2, 3, 4, 720, 721], "loaded": [5, 1, 1, 1, 0, 0, 0], "missed": [0, 0, 0, 0, 2, 1, 4]}
    )
    frame = bins_frame(hours).set_index("hours_from")
    assert frame.index.tolist() == list(EDGES)
    assert frame.loc[[0, 1, 3, 336, 720], ["loaded", "missed"]].to_numpy().tolist() == [
        [1, 0], [2, 0], [0, 2], [0, 1], [0, 4],
    ]  # fmt: skip
    assert int(frame["loaded"].sum() + frame["missed"].sum()) == 10
    assert punctual_text(hours) == "New or corrected rows: 5 at or after the watermark, 10 behind it."


def test_no_row_is_no_lateness() -> None:
    frame = bins_frame(pd.DataFrame({"hours": [], "loaded": [], "missed": []}))
    assert frame[["loaded", "missed"]].sum().tolist() == [0, 0]


def deliver(clinic: Clinic, rows: list[dict[str, str]], **how: float) -> RunResult:
    clinic.deliver(rows)
    result = clinic.run("2025-03-20T00:00:00Z", lookback_hours=how.get("lookback_hours", 24))
    assert result.exit_code == 0, result.message
    return result


def covering(clinic: Clinic, result: RunResult, share: float = 0.999) -> int | None:
    assert result.run is not None
    with reading(result.run.layout) as connection:
        return covering_lookback(connection, "clinic", share)


def test_the_first_load_is_not_late(clinic: Clinic) -> None:
    result = deliver(clinic, [at("10T12:00", "V1"), at("01T00:00", "V2")])
    assert clinic.query("SELECT * FROM lateness") == []
    assert covering(clinic, result) is None
    assert result.run is not None
    assert covering_text(result.run).startswith("No version came behind a watermark yet")


def test_5_late_rows_are_counted_by_the_hour_and_told_with_the_lookback_that_covers_them(clinic: Clinic) -> None:
    deliver(clinic, [at("10T12:00", "V1")])
    late = [at("10T12:00", "V2"), at("10T11:59", "V3"), at("10T11:00", "V4"), at("09T12:00", "V5")]
    result = deliver(clinic, [*late, at("08T00:30", "V6"), at("10T12:00", "V1"), at("11T00:00", "V7")])
    assert result.run is not None
    assert clinic.query("SELECT hours, loaded, missed FROM lateness ORDER BY hours") == [
        (0, 2, 0),  # at the watermark, and after it; V1 said nothing new
        (1, 2, 0),  # a minute before it, an hour before it
        (24, 1, 0),  # at the cutoff
        (60, 0, 1),  # 59 h 30 min
    ]
    assert [covering(clinic, result, share) for share in (0.3, 0.6, 0.8, 0.999)] == [0, 1, 24, 60]
    assert missed_text(result.run).startswith("1 missed: a lookback of 60 h would have caught them")
    assert covering_text(result.run).endswith(
        "60 h covers 99.9% of all lateness seen; the one in use, 24 h, is too short."
    )
    assert result.run.manifest["load"]["covering_lookback_hours"] == 60


def test_that_lookback_would_have_caught_them_and_one_hour_less_not(clinic: Clinic, tmp_path: Path) -> None:
    for name, hours, missed in (("enough", 60, 0), ("short", 59, 1)):
        other = Clinic(tmp_path / name)
        deliver(other, [at("10T12:00", "V1")])
        result = deliver(other, [at("08T00:30", "V6"), at("11T00:00", "V7")], lookback_hours=hours)
        assert result.counts["outside_missed"] == missed


def test_a_refresh_does_not_count_the_same_lateness_again(clinic: Clinic) -> None:
    deliver(clinic, [at("10T12:00", "V1")])
    deliver(clinic, [at("10T11:00", "V2"), at("11T00:00", "V3")])
    before = clinic.query("SELECT * FROM lateness")
    assert clinic.run("2025-03-20T00:00:00Z", full_refresh=True).exit_code == 0
    assert clinic.query("SELECT * FROM lateness") == before != []
