"""Judging a row: SQL and oracle (tests/model_rows.py) agree on reasons, typed values and row_hash, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.clock import instant_text
from lib.config import Settings, settings_from
from lib.deliveries import Batch, Delivery
from lib.judging import judged_batch
from lib.staging import row_hash
from lib.window import Window
from tests.model_rows import COLUMNS, Contract, Row
from tests.unit.sources.test_csv import is_visible

CLOCK = datetime(2025, 3, 2, 6, tzinfo=UTC)
GOOD = {
    "visit_id": "V1",
    "patient_id": "P1",
    "provider_id": "D1",
    "diagnosis_code": "J06.9",
    "visit_date": "2025-03-01",
    "visit_cost": "100.00",
    "last_updated": "2025-03-01T12:00:00Z",
}
Answer = tuple[Any, ...]
"""(reasons, visit_id, stamp, then patient to cents and row_hash of an accepted row)"""


def judged_by_sql(rows: Sequence[Row], config: Settings, folder: Path, clock: datetime = CLOCK) -> list[Answer]:
    """What lib makes of the rows, as one delivery."""
    names = list(config.wanted)
    columns = {name: pa.array([row.cells.get(name) for row in rows], pa.string()) for name in names}
    lines = pa.array([row.line for row in rows], pa.int64())
    malformed = pa.array([row.malformed for row in rows], pa.string())
    visible = [all(is_visible(cell) for cell in row.cells.values()) for row in rows]
    text = {"delivery_seq": pa.repeat(1, len(rows)), "source_line": lines, **columns, "malformed": malformed}
    records = pa.table({**text, "is_visible": pa.array(visible, pa.bool_())})
    delivery = Delivery("clinic", 1, "visits.csv", "", 0, "", instant_text(clock), "")
    batch = Batch("new", (delivery,))
    with judged_batch(batch, Given(records), config, Window(None, 24), folder / "spill") as engine:
        found = engine.connection.execute(
            "SELECT reasons, visit_id, stamp, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents,"
            f" CASE WHEN is_accepted THEN {row_hash(config)} END FROM judged ORDER BY source_line"
        ).fetchall()
    return [
        (tuple(reasons), visit_id, told(stamp and stamp.replace(tzinfo=UTC)), *(() if reasons else typed))
        for reasons, visit_id, stamp, *typed in found
    ]


class Given:
    """Records that no delivery was read for."""

    def __init__(self, records: pa.Table) -> None:
        self.records = records.to_reader()


def told(stamp: datetime | None) -> datetime | str | None:
    """The stamp; from 2100 on, where summer time is anybody's guess, only that it is later than every clock."""
    return "later" if stamp and stamp.year >= 2100 else stamp


def judged_by_model(rows: Sequence[Row], contract: Contract, clock: datetime = CLOCK) -> list[Answer]:
    answers = []
    for row in rows:
        judged = contract.judge(row, 1, clock)
        typed: Answer = ()
        if v := judged.version:
            typed = v.patient_id, v.provider_id, v.diagnosis_code, v.visit_date, v.visit_cost_cents, v.row_hash
        answers.append((judged.reasons, judged.visit_id, told(judged.stamp), *typed))
    return answers


def contract_of(config: Settings) -> Contract:
    """The oracle's settings, from ours."""
    rules, formats = config.rules, config.formats
    return Contract(
        names=config.columns.model_dump(),
        date_formats=formats.visit_date,
        stamp_formats=formats.last_updated,
        # compared trimmed, as the cell is
        null_markers={name: tuple(map(str.strip, texts)) for name, texts in config.null_markers.model_dump().items()},
        timezone=config.source.timezone,
        min_visit_date=rules.min_visit_date,
        max_future_days=rules.max_future_days,
        clock_skew_minutes=rules.clock_skew_minutes,
        max_visit_cost=rules.max_visit_cost,
    )


def check(cells: Iterable[dict[str, str]], content: dict[str, Any], folder: Path, clock: datetime = CLOCK) -> None:
    """Judge good rows with these cells in them by lib and by the oracle."""
    config = settings_from(content, "config.yaml")
    rows = [Row(line, {**GOOD, **each}) for line, each in enumerate(cells, 2)]
    found, expected = judged_by_sql(rows, config, folder, clock), judged_by_model(rows, contract_of(config), clock)
    different = [
        (dict(row.cells), sql, model) for row, sql, model in zip(rows, found, expected, strict=True) if sql != model
    ]
    assert not different, f"{len(different)} rows, the first: {different[0]}"
    assert len(found) == len(rows)


# Known answers, so that lib and the oracle cannot be wrong together


def answers(column: str, texts: Iterable[str], folder: Path, clock: datetime = CLOCK, **content: Any) -> list[Answer]:
    rows = [Row(line, {**GOOD, column: text}) for line, text in enumerate(texts, 2)]
    config = settings_from(content, "config.yaml")
    found = judged_by_sql(rows, config, folder, clock)
    assert found == judged_by_model(rows, contract_of(config), clock)
    return found


def test_costs_are_rounded_half_away_from_zero_after_they_are_judged(tmp_path: Path) -> None:
    cents = {
        "0": 0, "-0": 0, "-0.000": 0, "007": 700, "1.5": 150, "0.004": 0, "0.005": 1, "0.0049999999999999999999": 0,
        "1.005": 101, "2.675": 268, "1.115": 112, "0.995": 100, "9999999.994": 999_999_999,
        "9999999.995": 1_000_000_000, "10000000.00": 1_000_000_000, "0" * 60 + "1.10": 110,
    }  # fmt: skip
    assert [each[-2] for each in answers("visit_cost", cents, tmp_path)] == list(cents.values())


def test_costs_out_of_range_by_any_digit(tmp_path: Path) -> None:
    texts = ["-0.001", "-1", "10000000.001", f"10000000.{'0' * 30}1", "9" * 40, f"1{'0' * 308}"]
    assert {each[0] for each in answers("visit_cost", texts, tmp_path)} == {("visit_cost_out_of_range",)}


def test_a_limit_finer_than_a_cent_judges_before_rounding(tmp_path: Path) -> None:
    found = answers("visit_cost", ["250.005", "250.0051"], tmp_path, rules={"max_visit_cost": "250.005"})
    assert [(each[0], each[-2]) for each in found[:1]] == [((), 25001)]
    assert found[1][0] == ("visit_cost_out_of_range",)


@pytest.mark.parametrize(
    ("zone", "texts", "instant"),
    [
        ("UTC", ["2025-03-01T12:00", "2025-03-01 12:00:00", "2025-03-01T14:00+02:00", "2025-03-01 06:30:00.000-0530",
                 "2025-03-01T12:00:00.0000009Z"], "2025-03-01T12:00:00.000000"),
        ("UTC", ["2025-03-01T12:00:00.1234569Z", "2025-03-01T12:00:00.123456999"], "2025-03-01T12:00:00.123456"),
        ("Europe/Berlin", ["2025-03-01", "2025-03-01T00:00", "2025-02-28T23:00Z"], "2025-02-28T23:00:00.000000"),
        # repeated hour: the earlier instant; what is written with a zone says itself which it is
        ("Europe/Berlin", ["2024-10-27T02:30", "2024-10-27T02:30+02:00"], "2024-10-27T00:30:00.000000"),
        ("Europe/Berlin", ["2024-10-27T03:00", "2024-10-27T03:00+01:00"], "2024-10-27T02:00:00.000000"),
        ("America/New_York", ["2024-11-03T01:59:59.5", "2024-11-03T01:59:59.5-0400"], "2024-11-03T05:59:59.500000"),
        # skipped hour: the offset before the gap
        ("Europe/Berlin", ["2024-03-31T02:30", "2024-03-31T03:30"], "2024-03-31T01:30:00.000000"),
        ("America/New_York", ["2024-03-10T02:00", "2024-03-10T03:00"], "2024-03-10T07:00:00.000000"),
    ],
)  # fmt: skip
def test_stamps_of_one_instant(zone: str, texts: list[str], instant: str, tmp_path: Path) -> None:
    found = answers("last_updated", texts, tmp_path, source={"timezone": zone})
    assert {each[2].isoformat(timespec="microseconds")[:26] for each in found} == {instant}
    assert len({each[-1] for each in found}) == 1, "one row_hash"


def test_a_stamp_may_be_ahead_of_the_clock_by_the_skew_and_no_more(tmp_path: Path) -> None:
    found = answers("last_updated", ["2025-03-02T06:05:00Z", "2025-03-02T06:05:00.000001Z"], tmp_path)
    assert [each[0] for each in found] == [(), ("future_last_updated",)]


@pytest.mark.parametrize(
    ("zone", "last_day"), [("UTC", 3), ("Pacific/Kiritimati", 4), ("America/New_York", 3), ("Pacific/Pago_Pago", 2)]
)
def test_tomorrow_is_that_of_the_source_s_zone(zone: str, last_day: int, tmp_path: Path) -> None:
    clock = datetime(2025, 3, 2, 10, 30, tzinfo=UTC)
    days = [f"2025-03-0{day}" for day in (2, 3, 4, 5)]
    found = answers("visit_date", days, tmp_path, clock, source={"timezone": zone})
    assert [each[0] for each in found] == [
        () if int(day[-1]) <= last_day else ("visit_date_out_of_range",) for day in days
    ]


def test_null_markers_are_a_column_s_own(tmp_path: Path) -> None:
    markers = {"visit_cost": [" - ", "NULL"], "visit_id": ["NA"], "provider_id": ["it's \\ none"]}
    costs = answers("visit_cost", ["-", " -\t", "NULL", "null", "NA", ""], tmp_path, null_markers=markers)
    invalid = ("invalid_visit_cost",)
    assert [each[0] for each in costs] == [(), (), (), invalid, invalid, ()]
    assert {each[-2] for each in costs if not each[0]} == {None}
    ids = answers("visit_id", ["NA", " NA ", "NAN", "-"], tmp_path, null_markers=markers)
    assert [each[1] for each in ids] == [None, None, "NAN", "-"]
    assert answers("patient_id", ["NA"], tmp_path, null_markers=markers)[0][0] == ()
    assert answers("provider_id", ["it's \\ none"], tmp_path, null_markers=markers)[0][4] is None


# Texts: good ones, nearly good ones, others

WEIRD = (
    "0159-+.,:/ TZtz eE_%\t\0\x0b\r\n\x1f\x7f\x85\xa0\xad\u0660\u0665\u061c\u180e\u200b\u200e\u2028\u202e\u2060\u2212"
    "\u3000\ufeff\uff11é😀aPmN'\"\\$"
)


@st.composite
def nearly(draw: st.DrawFn, good: st.SearchStrategy[str]) -> str:
    """A good text, most often with a character changed, put in or left out, or with space around it."""
    text = draw(good)
    change = draw(st.sampled_from(["none", "none", "replace", "insert", "remove", "pad"]))
    if change == "pad":
        return draw(st.text(" \t\u00a0", max_size=2)) + text + draw(st.text(" \t\u00a0", max_size=2))
    if change != "none" and text:
        at = draw(st.integers(0, len(text) - 1))
        character = "" if change == "remove" else draw(st.sampled_from(WEIRD))
        text = text[:at] + character + text[at + (change != "insert") :]
    return text


ODD = st.sampled_from(
    ["", " ", "\t", "NA", "null", "NULL", "N/A", "-", "nan", "NaN", "inf", "-inf", "Infinity", "1e3", "1E-2", "1_000",
     "0x1F", "１２", "٣", "½", "$12", "12 €", "1,234.56", "12,50", ".5", "5.", "+5", "--5", "-", "-0", "-0.00",
     "-0.001", "0000-00-00", "2025-02-30", "2024-02-29", "2025-02-29", "1900-02-29", "2025-13-01", "2025-00-10",
     "24:00", "now", "today", "epoch", "infinity", "2025-W01-1", "2025-1-1", "20251231", "31/12/2025", "01/02/2025",
     "45000", "1735689600000", "2025-01-01T24:00", "2025-01-01T23:60", "2025-01-01T23:59:60Z", "2025-01-01T12",
     "2025-01-01 ",
     "2025-01-01T12:00:00+24:00", "2025-01-01T12:00:00 UTC", "2025-01-01T12:00z", "2025-01-01t12:00Z",
     "2025-01-01T12:00:00+01", "2025-01-01T12:00:00.Z", "2025-01-01T12:00:00,5Z", "2025-01-01T12:00:00.1234567890",
     "2025-01-01Z", "10000-01-01", "-2025-01-01", "+2025-01-01", "2025-01-01 (BC)", "2025-01-01 BC",
     "0001-01-01T00:00:00+00:01", "0001-01-01", "0001-01-01T00:00:00-00:01", "9999-12-31T23:59:59.999999999Z",
     "9999-12-31T23:59:59-00:01", "9999-12-31", "0000-12-31T23:59:59-01:00", "1753-01-01", "0000-01-01"]
)  # fmt: skip

DIGITS = st.text("0123456789", min_size=1, max_size=24)
COST = st.one_of(
    st.builds("{}.{}".format, st.integers(0, 10_000_001), st.text("0123456789", min_size=1, max_size=6)),
    st.builds("{}{}.{}".format, st.sampled_from(["", "-", "0", "000"]), DIGITS, DIGITS),
    st.builds("{}.{}{}".format, st.integers(0, 999), st.sampled_from(["004", "005", "994", "995", "999", "0049", "5"]),
              st.sampled_from(["", "0", "9" * 30, "0" * 30 + "1"])),
    st.builds("10000000{}{}".format, st.sampled_from(["", ".0", ".00", ".004", ".000000000000000000"]),
              st.sampled_from(["", "0", "1"])),
    st.builds("{}{}".format, st.sampled_from(["0" * 17, "0" * 40, "0" * 300]), DIGITS),
    st.integers(-3, 10**18).map(str),
)  # fmt: skip
NEAR = st.one_of(
    st.dates(date(2024, 1, 1), date(2026, 1, 1)),
    st.dates(date(1899, 12, 30), date(1900, 1, 3)),
    st.dates(date(2025, 2, 28), date(2025, 3, 5)),
    st.dates(),
)
DAY = st.one_of(
    NEAR.map(date.isoformat),
    st.builds("{:04}-{:02}-{:02}".format, st.sampled_from([0, 1, 1900, 2000, 2024, 2025, 9999]), st.integers(0, 13),
              st.integers(0, 32)),
)  # fmt: skip
CLOCK_TEXT = st.builds(
    "{:02}:{:02}{}".format, st.integers(0, 24), st.integers(0, 60),
    st.one_of(st.just(""), st.builds(":{:02}".format, st.integers(0, 60)),
              st.builds(":{:02}.{}".format, st.integers(0, 59), st.text("0123456789", min_size=1, max_size=10))),
)  # fmt: skip
ZONE = st.one_of(
    st.sampled_from(["", "", "Z", "+00:00", "-00:00", "+0200", "-0530", "+14:00", "-23:59", "+05:45", "+24:00",
                     "+5:00"]),
    st.builds("{}{:02}{}{:02}".format, st.sampled_from("+-"), st.integers(0, 25), st.sampled_from([":", ""]),
              st.integers(0, 61)),
)  # fmt: skip
ISO = st.one_of(DAY, st.builds("{}{}{}{}".format, DAY, st.sampled_from("T "), CLOCK_TEXT, ZONE))
IDS = st.one_of(
    st.text(max_size=12),
    st.text("aé😀\u0301\u200d", min_size=126, max_size=130),
    st.text(WEIRD, max_size=4),
    st.sampled_from(
        ["00123", "NA", "null", "9" * 23, "=cmd|' /C calc'!A0", "<script>", "'; DROP TABLE fact_visits;--"]
    ),
).filter(lambda text: text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text))


def many(*texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.one_of(*texts), min_size=60, max_size=120)


EXAMPLES = hypothesis_settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # the message names the cell; shrinking the rows around it takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@EXAMPLES
@given(texts=many(nearly(COST), nearly(COST), ODD), most=st.sampled_from(["10000000", "0", "250.005", "0.01", "1e3"]))
def test_cost(texts: list[str], most: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = {"rules": {"max_visit_cost": most}}
    check([{"visit_cost": each} for each in texts], content, tmp_path_factory.mktemp("judged"))


@EXAMPLES
@given(texts=many(nearly(ISO), nearly(DAY), ODD), zone=st.sampled_from(["UTC", "Pacific/Kiritimati"]))
def test_visit_date(texts: list[str], zone: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = {"source": {"timezone": zone}, "rules": {"max_future_days": 2}}
    check([{"visit_date": each} for each in texts], content, tmp_path_factory.mktemp("judged"))


@EXAMPLES
@given(
    texts=many(nearly(ISO), nearly(ISO), ODD),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_stamp(texts: list[str], zone: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = {"source": {"timezone": zone}}
    check([{"last_updated": each} for each in texts], content, tmp_path_factory.mktemp("judged"))


@EXAMPLES
@given(column=st.sampled_from(COLUMNS[:4]), texts=many(nearly(IDS), ODD))
def test_text_columns(column: str, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    check([{column: each} for each in texts], {}, tmp_path_factory.mktemp("judged"))


ANY = st.one_of(nearly(COST), nearly(ISO), nearly(IDS), ODD)
ROWS = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, ANY)), min_size=20, max_size=30)
MARKERS = {name: ["NA", " - ", "null"] for name in COLUMNS}
STAMPLESS = {"source": {"deliveries": "full"}, "columns": {"last_updated": None}}
FEW = {"columns": dict.fromkeys(("provider_id", "diagnosis_code", "visit_cost"))}


@EXAMPLES
@given(rows=ROWS, content=st.sampled_from([{}, {"null_markers": MARKERS}, STAMPLESS, FEW]))
def test_whole_rows(
    rows: list[dict[str, str]], content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    check(rows, content, tmp_path_factory.mktemp("judged"))


FORMATS = [
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%Y%m%d",
    "%d-%b-%Y",
    "%m/%d/%y",
    "%-m/%-d/%Y",
    "%d %B %Y",
    "%d%%%m(%Y)",
    "%Y年%m月%d日",
    "%Y'%m'%d",
]
CLOCK_FORMATS = ["%Y-%m-%d %H:%M", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S", "%Y%m%dT%H%M%S.%f", "%-d/%-m/%y %-H:%M"]


@st.composite
def declared_text(draw: st.DrawFn, declared: str) -> str:
    """A text in a declared format, its parts now and then not real."""
    month = draw(st.integers(0, 13))
    names = ["Jan", "feb", "MAR", "Apr", "May", "Jun", "jul", "Aug", "Sep", "Sept", "Oct", "Nov", "Dec"]
    long = ["January", "february", "MARCH", "May", "Jun", "September", "Sept", "December", "Smarch"]
    parts = {
        "%Y": f"{draw(st.sampled_from([0, 1, 999, 1899, 1900, 2024, 2025, 2025, 2025, 9999])):04}",
        "%y": f"{draw(st.integers(0, 99)):02}",
        "%m": f"{month:02}",
        "%-m": draw(st.sampled_from([f"{month}", f"{month:02}"])),
        "%d": f"{draw(st.integers(0, 32)):02}",
        "%-d": f"{draw(st.integers(0, 32))}",
        "%b": draw(st.sampled_from(names)),
        "%B": draw(st.sampled_from(long)),
        "%H": f"{draw(st.integers(0, 24)):02}",
        "%-H": f"{draw(st.integers(0, 24))}",
        "%I": f"{draw(st.integers(0, 13)):02}",
        "%p": draw(st.sampled_from(["AM", "PM", "am", "Pm", "XM"])),
        "%M": f"{draw(st.integers(0, 60)):02}",
        "%S": f"{draw(st.integers(0, 61)):02}",
        "%f": draw(st.text("0123456789", min_size=1, max_size=7)),
    }
    return "".join("%" if part == "%%" else parts.get(part, part) for part in re.split(r"(%-?[A-Za-z%])", declared))


@hypothesis_settings(EXAMPLES, max_examples=30)
@given(data=st.data(), formats=st.lists(st.sampled_from([*FORMATS, "iso"]), min_size=1, max_size=3, unique=True))
def test_declared_dates(data: st.DataObject, formats: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = data.draw(many(*(nearly(ISO if each == "iso" else declared_text(each)) for each in formats), ODD))
    content = {"formats": {"visit_date": formats}}
    check([{"visit_date": each} for each in texts], content, tmp_path_factory.mktemp("judged"))


@hypothesis_settings(EXAMPLES, max_examples=30)
@given(
    data=st.data(),
    formats=st.lists(st.sampled_from([*CLOCK_FORMATS, *FORMATS, "iso"]), min_size=1, max_size=3, unique=True),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_declared_stamps(
    data: st.DataObject, formats: list[str], zone: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = data.draw(many(*(nearly(ISO if each == "iso" else declared_text(each)) for each in formats), ODD))
    content = {"source": {"timezone": zone}, "formats": {"last_updated": formats}}
    check([{"last_updated": each} for each in texts], content, tmp_path_factory.mktemp("judged"))
