"""A plot says what it found, draws no small group, and never fails for want of data."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib.drawing import show_picture
from lib.figures import describe, png
from lib.history_plots import plot_loads, plot_rules
from lib.plots import (
    plot_cost_distribution,
    plot_cost_per_week,
    plot_restated_days,
    plot_top_categories,
    plot_visits_per_day,
    plot_visits_per_week,
    plot_weekday_pattern,
)
from lib.run_plots import (
    plot_gate_overview,
    plot_lateness,
    plot_reconciliation,
    plot_refusals_by_reason,
    plot_rows_by_delivery,
)


def title(figure: Figure) -> str:
    return figure.texts[0].get_text().replace("\n", " ")


def subtitle(figure: Figure) -> str:
    return figure.texts[1].get_text().replace("\n", " ")


def drawn_texts(figure: Figure) -> str:
    axes = figure.axes[0]
    return " | ".join(each.get_text() for each in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()))


def weeks(*visits: int, average: list[float | None] | None = None, **columns: Any) -> pd.DataFrame:
    starts = pd.date_range("2025-06-02", periods=len(visits), freq="7D")
    frame = {
        "period": [f"{start:%G-W%V}" for start in starts],
        "grain": "week",
        "start": starts.date,
        "end": (starts + pd.Timedelta(days=6)).date,
        "days": 7,
        "is_over": True,
        "visits": visits,
        "average_4_weeks": average or [None] * len(visits),
    }
    return pd.DataFrame(frame | columns)


def categories(**visits: int) -> pd.DataFrame:
    frame = pd.DataFrame({"diagnosis_code": list(visits), "visits": list(visits.values())})
    return frame.assign(categories=[5 if name == "other" else 1 for name in visits])


def costs(*visits: int) -> pd.DataFrame:
    edges = [0, 10, 20, 50, 100][: len(visits) + 1]
    return pd.DataFrame({"cost_from": edges[:-1], "cost_to": [*edges[1:-1], None], "visits": visits})


def weekdays(**visits: int) -> pd.DataFrame:
    frame = pd.DataFrame({"weekday": list(visits), "visits": list(visits.values()), "days": 10})
    return frame.assign(mean_visits=frame["visits"] / 10)


def changes(*before_after: tuple[int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(before_after, columns=["visits_before", "visits_after"])
    return frame.assign(
        period=[f"2025-06-{n + 1:02d}" for n in range(len(frame))],
        visits_difference=frame["visits_after"] - frame["visits_before"],
        days_changed=1,
        days_new=(frame["visits_before"] == 0).astype(int),
        days_gone=(frame["visits_after"] == 0).astype(int),
    )


def lateness(loaded: list[int], missed: list[int]) -> pd.DataFrame:
    edges = [0, 12, 24, 48, 96][: len(loaded) + 1]
    return pd.DataFrame({"hours_from": edges[:-1], "hours_to": edges[1:], "loaded": loaded, "missed": missed})


def rules(*found: tuple[str, str, float | None, str, float, bool]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=["id", "severity", "observed", "comparison", "threshold", "passed"])


def recent(*found: tuple[str, int, float | None, bool, bool]) -> pd.DataFrame:
    """As `rule_trends.recent_rules`: rule, number of the run, share of its limit used, passed, overridden."""
    frame = pd.DataFrame(found, columns=["rule", "run", "used", "passed", "overridden"])
    return frame.assign(run=[f"{run:06d}-20250301T000000Z" for run in frame["run"]], used=frame["used"].astype(float))


DELIVERIES = pd.DataFrame(
    {
        "scope": ["delivery 000001", "delivery 000002", "batch"],
        "is_batch": [False, False, True],
        "rows_read": [90, 10, 100],
        "outside_held": [0, 5, 5],
        "outside_missed": 0,
        "outside_invalid": 0,
        "refused": [10, 0, 10],
        "superseded": 0,
        "staged": [80, 5, 85],
    }
)
COUNTS = {"rows_read": 100, "outside_held": 5, "refused": 10, "staged": 85, "inserted": 80, "unchanged": 5}

COST_WEEKS = weeks(20, 30, visits_with_cost=[20, 30], cost=[2000, 3000])
EVERY_PLOT: list[tuple[Callable[..., Figure], Any, tuple[Any, ...]]] = [
    (plot_visits_per_week, weeks(20, 30), ()),
    (plot_visits_per_day, weeks(20, 30).assign(grain="day", average_7_days=None), ()),
    (plot_cost_per_week, COST_WEEKS, ()),
    (plot_weekday_pattern, weekdays(Monday=100, Sunday=20), ()),
    (plot_top_categories, categories(I10=80, other=20), ()),
    (plot_cost_distribution, costs(10, 20), ()),
    (plot_restated_days, changes((10, 12)), ()),
    (plot_gate_overview, rules(("refused_share", "critical", 0.01, "<=", 0.05, True)), ()),
    (plot_lateness, lateness([10, 20], [0, 0]), (24,)),
    (plot_rows_by_delivery, DELIVERIES, ()),
    (plot_rules, recent(("refused_share", 1, 0.4, True, False)), ()),
]
PLOTS = pytest.mark.parametrize(("plot", "frame", "more"), EVERY_PLOT, ids=[plot.__name__ for plot, _, _ in EVERY_PLOT])


@PLOTS
def test_every_plot_states_a_finding_and_its_n(plot: Callable[..., Figure], frame: Any, more: tuple[Any, ...]) -> None:
    figure = plot(frame, *more)
    assert title(figure) and subtitle(figure).startswith("n = ")
    assert title(figure) in describe(figure) and subtitle(figure) in describe(figure)
    assert figure.axes[0].get_xlabel()
    assert png(figure).startswith(b"\x89PNG")


@PLOTS
def test_every_plot_of_nothing_says_so(plot: Callable[..., Figure], frame: Any, more: tuple[Any, ...]) -> None:
    figure = plot(frame.iloc[:0], *more)
    assert describe(figure).startswith("Empty chart (")
    assert " run" in drawn_texts(figure)


def test_no_rows_and_no_refusals_are_nothing_to_draw() -> None:
    assert "no rows were read in this run" in drawn_texts(plot_reconciliation({}))
    assert "no row was refused in this run" in drawn_texts(plot_refusals_by_reason({"malformed_row": 0}))


@pytest.mark.parametrize(("visits", "drawn"), [(7, False), (8, True), (9, True)])
@pytest.mark.parametrize(
    ("plot", "frame"),
    [
        (plot_visits_per_week, lambda n: weeks(20, n)),
        (plot_cost_per_week, lambda n: weeks(20, 30, visits_with_cost=[20, n], cost=[1, 1])),
        (plot_weekday_pattern, lambda n: weekdays(Monday=20, Sunday=n)),
        (plot_top_categories, lambda n: categories(I10=20, Z99=n)),
        (plot_cost_distribution, lambda n: costs(20, n)),
        (plot_restated_days, lambda n: changes((n, 12))),
    ],
    ids=["week", "cost", "weekday", "categories", "costs", "restated"],
)
def test_a_small_group_is_not_drawn(
    plot: Callable[[pd.DataFrame], Figure], frame: Callable[[int], pd.DataFrame], visits: int, drawn: bool
) -> None:
    assert describe(plot(frame(visits))).startswith("Empty chart (not drawn") is not drawn


@pytest.mark.parametrize(
    ("averages", "found"),
    [
        ([100, 110, 130, 150, 120], "Visits ran at 120 a week in the last four weeks, 20 % more than"),
        ([100, 110, 130, 150, 80], "Visits ran at 80 a week in the last four weeks, 20 % less than"),
        ([100, 110, 130, 150, 100], "Visits ran at 100 a week in the last four weeks, as"),
        ([None, None, None, None, 100], "Visits ran at 100 a week in the last four weeks"),
        ([None] * 5, "Visits per week: 100 visits, too short a time for an average"),
    ],
    ids=["more", "less", "the same", "no earlier average", "no average"],
)  # fmt: skip
def test_the_trend_is_against_four_weeks_before(averages: list[float | None], found: str) -> None:
    assert title(plot_visits_per_week(weeks(20, 20, 20, 20, 20, average=averages))).split(" in the four")[0] == found


def test_merged_weeks_are_drawn_as_their_weekly_mean() -> None:
    frame = weeks(70, 40, grain=["week", "month"], end=[pd.Timestamp(2025, 6, 8), pd.Timestamp(2025, 7, 6)])
    assert [bar.get_height() for bar in plot_visits_per_week(frame).axes[0].patches] == [70, 10]


def test_visits_without_a_place_in_time_are_told_not_drawn() -> None:
    frame = pd.concat([weeks(20), weeks(9, start=None, end=None, grain="other periods")])
    assert subtitle(plot_visits_per_week(frame)).endswith("9 visits of merged other periods are not drawn")


def cells(figure: Figure) -> list[str]:
    return [each.get_text() for each in figure.axes[0].texts]


def test_rules_over_time_tell_failures_first() -> None:
    frame = recent(
        ("quiet", 11, 0.004, True, False), ("quiet", 12, 0.0, True, False),
        ("refused_share", 11, 2.0, False, True), ("refused_share", 12, 0.446, True, False),
        ("missed_rows", 11, float("inf"), False, False), ("missed_rows", 12, float("inf"), False, False),
        ("unusual_row_count", 11, None, True, False), ("unusual_row_count", 12, 0.02, True, False),
    )  # fmt: skip
    figure = plot_rules(frame)
    assert title(figure) == "2 of 4 rules failed in the last 2 runs: missed_rows in 2, refused_share in 1"
    assert subtitle(figure).startswith("n = 2 runs of this source;")
    assert subtitle(figure).endswith("; 1 rule that used under 1 % of its limit is not drawn")
    assert cells(figure) == ["(×)", "45", "×", "×", "2"]
    axes = figure.axes[0]
    assert [each.get_text() for each in axes.get_xticklabels()] == ["11", "12"]
    assert [each.get_text() for each in axes.get_yticklabels()] == ["refused_share", "missed_rows", "unusual_row_count"]


def test_rules_over_time_else_tell_the_nearest() -> None:
    frame = recent(("a", 1, 0.2, True, False), ("b", 1, 0.4, True, False), ("b", 2, None, True, False))
    assert title(plot_rules(frame)) == ("No rule failed in the last 2 runs; b came nearest its limit, using 40 % of it")
    assert title(plot_rules(frame.iloc[:1])) == "No rule failed in this run; a came nearest its limit, using 20 % of it"
    idle = recent(("a", 1, 0.0, True, False), ("b", 1, None, True, False))
    assert title(plot_rules(idle)) == "No rule failed in this run, and none used any of its limit"
    failed = recent(("a", 1, 3.0, False, False), ("b", 1, None, True, False))
    assert title(plot_rules(failed)) == "1 of 2 rules failed in this run: a"


def test_titles_name_the_largest() -> None:
    assert title(plot_top_categories(categories(I10=60, J06=20, other=20))) == (
        "I10 is the most frequent diagnosis code: 60 % of the visits"
    )
    assert title(plot_weekday_pattern(weekdays(Monday=100, Sunday=20))) == (
        "Monday is the busiest weekday (10.0 visits on average), Sunday the quietest (2.0)"
    )
    assert title(plot_refusals_by_reason({"malformed_row": 2, "missing_visit_id": 5}, 6)) == (
        "missing_visit_id is the most frequent reason: 5 of 6 refused rows"
    )


def test_merged_categories_are_never_named_the_most_frequent() -> None:
    assert title(plot_top_categories(categories(other=80, I10=20))).startswith("I10 ")
    assert title(plot_top_categories(categories(all=80))) == "No diagnosis code has enough visits to be shown alone"


def test_quartiles_make_the_title_of_the_costs() -> None:
    summary = pd.DataFrame([{"lower_quartile": 12, "median": 15, "upper_quartile": 19}])
    assert title(plot_cost_distribution(costs(10, 20, 10), summary)) == (
        "Half of the visits cost between 12 and 19, the median is 15"
    )
    patches = plot_cost_distribution(costs(10, 20, 10), summary).axes[0].patches
    band = next(each for each in patches if each.get_label() == "middle half of the visits")
    assert band.get_zorder() > patches[0].get_zorder(), "or the bars would hide it"
    hidden = summary.astype("Float64").mask(summary > 0)
    assert title(plot_cost_distribution(costs(10, 20, 10), hidden)) == "Most visits cost 10 to 20"


def test_rows_that_do_not_add_up_are_the_finding() -> None:
    assert title(plot_reconciliation(COUNTS)) == "All 100 rows read are accounted for: 85 staged, 15 not"
    assert title(plot_reconciliation({**COUNTS, "refused": 8})) == "The rows do not add up: 2 unaccounted for"
    assert title(plot_reconciliation({**COUNTS, "refused": 11})) == "The rows do not add up: 1 counted twice"
    assert title(plot_reconciliation({**COUNTS, "inserted": 79})) == "The rows do not add up: 1 unaccounted for"


def test_changed_days_are_counted_by_kind() -> None:
    figure = plot_restated_days(changes((10, 12), (0, 9), (9, 0)))
    assert title(figure) == "This run changed 3 days: 1 restated, 1 new, 1 gone"
    assert "+2" in drawn_texts(figure) and "-9" in drawn_texts(figure)


@pytest.mark.parametrize(
    ("rule", "bar"),
    [
        (("share", "critical", 0.01, "<=", 0.05, True), 0.2),
        (("share over", "critical", 0.5, "<=", 0.05, False), 1.5),
        (("count", "warning", 3, "<=", 0, False), 1.5),
        (("no count", "warning", 0, "<=", 0, True), 0.0),
        (("at least a share", "warning", 0.96, ">=", 0.95, True), 0.8),
        (("at least a row", "critical", 4, ">=", 1, True), 0.25),
        (("no row", "critical", 0, ">=", 1, False), 1.5),
        (("equal", "critical", 7, "==", 7, True), 0.0),
        (("not equal", "critical", 6, "==", 7, False), 1.5),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_rules_bar_is_the_share_of_its_limit(rule: tuple[str, str, float, str, float, bool], bar: float) -> None:
    figure = plot_gate_overview(rules(rule))
    assert figure.axes[0].patches[0].get_width() == pytest.approx(bar)
    assert title(figure).startswith("All 1 rules hold" if rule[-1] else "0 of 1 rules hold")


def test_a_rule_with_nothing_to_judge_has_no_bar_and_others_show_their_worst() -> None:
    figure = plot_gate_overview(
        rules(
            ("row_drop", "warning", None, "<=", 0.5, True),
            ("refused_share", "critical", 0.01, "<=", 0.05, True),
            ("refused_share", "critical", 0.2, "<=", 0.05, False),
            ("stale", "warning", 80, "<=", 72, False),
        )
    )
    assert title(figure) == "0 of 2 rules hold: 1 critical failure and 1 warning"
    assert subtitle(figure).startswith("n = 2 rules") and subtitle(figure).endswith("; 1 more had nothing to judge")


def test_late_rows_beyond_the_window_are_the_finding() -> None:
    assert title(plot_lateness(lateness([20, 30], [0, 0]), 24)) == "All 50 late rows came within the window of 24 h"
    figure = plot_lateness(lateness([20, 30, 0], [0, 0, 9]), 24)
    assert title(figure) == "9 of 59 late rows came after the window of 24 h and were missed"
    assert figure.axes[0].lines[0].get_xdata() == [2.0, 2.0]


def test_the_axis_of_the_loads_has_thousands_separators() -> None:
    frame = pd.DataFrame({"run": ["r1"], "inserted": [12000], "updated": [0], "unchanged": [0]})
    axis = plot_loads(frame).axes[0].xaxis
    assert axis.get_major_formatter()(10000) == "10,000"


def test_the_batch_is_not_a_delivery() -> None:
    assert title(plot_rows_by_delivery(DELIVERIES)) == "2 deliveries brought 100 rows, 85 % of them staged"


def test_a_value_of_the_data_is_text_and_nothing_else() -> None:
    frame = categories(**{"$\\frac{": 80, "<script>": 20, "診断": 10})
    assert png(plot_top_categories(frame)).startswith(b"\x89PNG")


def test_the_callers_style_is_left_alone_and_leaves_the_plot_alone() -> None:
    plain = png(plot_visits_per_week(weeks(20, 30)))
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30}):
        assert png(plot_visits_per_week(weeks(20, 30))) == plain
        assert mpl.rcParams["font.size"] == 30


def test_a_shown_figure_carries_its_alternative_text(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[dict[str, Any], dict[str, Any]]] = []
    monkeypatch.setattr("lib.shown.show", lambda data, **metadata: shown.append((data, metadata)))
    show_picture("plots.plot_visits_per_week", weeks(20, 30))
    figure = plot_visits_per_week(weeks(20, 30))
    data, metadata = shown[0]
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == data["text/plain"] == describe(figure)
