"""How notebooks show things: escaped, with separators, the same as text and as HTML."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from lib import show
from lib.errors import PipelineError
from lib.shown import MARK, is_marked, is_passing

FRAME = pd.DataFrame(
    {
        "file": ["<b>a & b", None],
        "row_count": [1234567, 8],
        "mean": [1.25, 3.0],
        "share": [0.5, 0.001],
        "day": [date(2025, 3, 1), pd.NaT],
        "new": [True, False],
    }
)


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    things: list[Any] = []
    monkeypatch.setattr(show, "_display", things.append)
    return things


def test_a_table_reads_as_text(displayed: list[Any]) -> None:
    show.table(FRAME)
    assert repr(displayed[0]).splitlines() == [
        "file      row count  mean   share  day         new",
        "<b>a & b  1,234,567   1.2  50.0 %  2025-03-01  yes",
        "–                 8   3.0   0.1 %  –           no",
    ]


def test_a_table_is_escaped_html(displayed: list[Any]) -> None:
    show.table(FRAME)
    html = displayed[0]._repr_html_()
    assert '<td style="text-align: left">&lt;b&gt;a&nbsp;&amp;&nbsp;b</td>' in html
    assert '<td style="text-align: right">1,234,567</td>' in html
    assert "<b>" not in html


def test_a_long_value_may_be_wrapped(displayed: list[Any]) -> None:
    show.table(pd.DataFrame({"why": ["a reason of many words"]}))
    assert "a reason of many words" in displayed[0]._repr_html_()


def test_names_of_columns_are_escaped_too(displayed: list[Any]) -> None:
    show.table(pd.DataFrame({"<script>alert(1)</script>": [1]}))
    assert "<script>" not in displayed[0]._repr_html_()


def test_a_long_table_says_how_much_is_left_out(displayed: list[Any]) -> None:
    show.table(pd.DataFrame({"n": range(1041)}))
    lines = repr(displayed[0]).splitlines()
    assert len(lines) == 1 + 40 + 1 and lines[-1] == "… and 1,001 more rows"
    show.table(pd.DataFrame({"n": range(40)}))
    assert "more rows" not in repr(displayed[1])


def test_an_empty_table_says_so(displayed: list[Any]) -> None:
    show.table(pd.DataFrame({"n": []}))
    assert repr(displayed[0]).splitlines() == ["n", "no rows"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2025, 3, 1, 12, tzinfo=UTC), "2025-03-01T12:00:00+00:00"),
        (pd.Timestamp("2025-03-01"), "2025-03-01"),
        (float("nan"), "–"),
        (pd.NA, "–"),
        (True, "yes"),
        (-1234.0, "-1,234"),
    ],
)
def test_values(displayed: list[Any], value: Any, text: str) -> None:
    show.table(pd.DataFrame({"x": pd.Series([value], dtype=object)}))
    assert repr(displayed[0]).splitlines()[1].strip() == text


def test_arrow_types_with_nulls(displayed: list[Any]) -> None:
    show.table(
        pd.DataFrame({"n": pd.array([1000, None], dtype="int64[pyarrow]"), "x": pd.array([0.5, None], "Float64")})
    )
    assert [line.split() for line in repr(displayed[0]).splitlines()[1:]] == [["1,000", "0.5"], ["–", "–"]]


def test_a_sentence_is_escaped(displayed: list[Any]) -> None:
    show.say("a < b")
    assert repr(displayed[0]) == "a < b"
    assert displayed[0]._repr_html_() == "<p>a &lt; b</p>"


@pytest.mark.parametrize(
    ("before", "after", "how"), [(1200, 1100, "(100 fewer)"), (1, 3, "(2 more)"), (5, 5, "(unchanged)")]
)
def test_a_change(displayed: list[Any], before: int, after: int, how: str) -> None:
    show.change("rows", before, after)
    assert repr(displayed[0]) == f"rows: {before:,} → {after:,} {how}"


def test_a_check_that_holds_is_marked(displayed: list[Any]) -> None:
    show.check("all is well", True)
    assert repr(displayed[0]) == "✓ all is well"


def test_a_check_that_does_not_hold_is_marked_and_stops(displayed: list[Any]) -> None:
    with pytest.raises(PipelineError, match="this check does not hold: all is well"):
        show.check("all is well", False)
    assert repr(displayed[0]) == "✗ all is well"


@pytest.mark.parametrize("key", ["visit_id", "patient_id", "row_hash", "source_line"])
def test_a_frame_of_rows_shows_no_value(displayed: list[Any], key: str) -> None:
    show.table(pd.DataFrame({key: ["V1", None], "visit_cost": [73391.47, 5.0], "code": ["Z99.1", "J06.9"]}))
    assert [line.split() for line in repr(displayed[0]).splitlines()[1:]] == [["•••"] * 3, ["–", "•••", "•••"]]
    assert "Z99" not in displayed[0]._repr_html_()


def test_what_is_shown_carries_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "IPython.display.display",
        lambda thing, raw, metadata: sent.append({"metadata": metadata, "passing": is_passing()}),
    )
    show.say("3 rows")
    show.query("SELECT 1")
    show.table(FRAME)
    show.picture("figures.nothing_to_draw", "why?")
    assert [is_marked(each) and each["passing"] for each in sent] == [True] * 4
    assert not is_passing()
    assert [is_marked(each) for each in ({}, {"metadata": {}}, {"metadata": None}, {"metadata": {MARK: True}})] == [
        False
    ] * 4
