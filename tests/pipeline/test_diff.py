"""diff: runs that are alike differ in nothing; each kind of difference gives its line, and no patient's value."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.diff import Side, diff_runs
from lib.errors import StoredDataChanged
from lib.layout import Layout
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.kept import keep_history, keep_run, layout_of, make_small, reseal


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one closed record."""
    folder = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        keep_history(Clinic(folder), 1)
    return folder / "data"


@pytest.fixture
def pair(history: Path, tmp_path: Path) -> tuple[Layout, Layout]:
    """That folder, and a copy of it to change."""
    shutil.copytree(history, tmp_path / "copy")
    return Layout.at(history, None), Layout.at(tmp_path / "copy", None)


def differ(first: Layout, second: Layout) -> list[str]:
    return diff_runs(*(Side.at(each, each.run_ids()[-1]) for each in (first, second)))


def manifest(layout: Layout) -> Path:
    return layout.record(layout.run_ids()[-1]) / "manifest.json"


def put(*path: str, value: Any) -> Callable[[Layout], None]:
    """Change one value of the manifest."""

    def change(content: dict[str, Any]) -> None:
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return lambda layout: reseal(manifest(layout), change)


WHOLE = "100.00 % (limit ≥ 100.00 %)"


def judge(**facts: Any) -> Callable[[Layout], None]:
    """Change what the first rule of the gate's report found."""

    def change(layout: Layout) -> None:
        path = manifest(layout).with_name("dq_report.json")
        report = json.loads(path.read_text())
        report["rules"][0].update(facts)
        path.write_text(json.dumps(report))

    return change


def show(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Layout], None]:
    """Change the cells of 02's executed notebook."""

    def changed(layout: Layout) -> None:
        path = manifest(layout).with_name("02_stage.ipynb")
        notebook = json.loads(path.read_text())
        change(notebook["cells"])
        path.write_text(json.dumps(notebook))

    return changed


def cell(name: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {},
        "source": ["# Counts\n", "look()"],
        "outputs": list(outputs),
    }


CASES: dict[str, tuple[Callable[[Layout], None], list[str]]] = {
    "config": (put("config", "min_group_size", value=9), ["config: min_group_size: 8 → 9"]),
    "threshold": (
        put("config", "gate", "max_refused_share", value=0.1), ["threshold: gate.max_refused_share: 0.05 → 0.1"]
    ),
    "code": (put("code", "lib/load.py", value="1" * 64), ["code: lib/load.py changed"]),
    "suite": (
        put("code", "expectations/staged_rows.json", value="1" * 64), ["suite: expectations/staged_rows.json changed"]
    ),
    "package": (put("packages", "pandas", value="3.2.0"), ["package: pandas: 3.1.0 → 3.2.0"]),
    "interpreter": (put("interpreter", "version", value="3.13.0"), ["interpreter: version: "]),
    "git": (put("git", value={"commit": None, "dirty": None}), ["commit: "]),
    "parameter": (put("window", "lookback_hours", value=48.0), ["option: lookback hours: 24 → 48"]),
    "who": (put("actor", value="somebody"), ["who: actor: "]),
    "source": (put("source", value="ward"), ["source: clinic → ward"]),
    "count": (put("counts", "refused", value=1200), ["rows: refused 0 → 1,200"]),
    "reason": (put("reasons", "missing_patient_id", value=2), ["reason: missing patient id 0 → 2"]),
    "cause": (put("load", "visits", "late", value=1), ["visits: late 0 → 1"]),
    "outcome of the gate": (put("gate", "decision", value="PASSED BY OVERRIDE"), ["gate: PASSED"]),
    "watermark": (put("load", "watermark_after", value=None), ["watermark after: 2025-03-01T12:00:00"]),
    "batch": (put("batch", "kind", value="refresh"), ["batch: new → refresh"]),
    "delivery": (
        lambda layout: reseal(
            manifest(layout), lambda content: content["batch"]["deliveries"][0].update(sha256="1" * 64)
        ),
        ["delivery: visits.csv (", "delivery: visits.csv (111111111111) only in the second"],
    ),
    "rule": (judge(observed=0.5, passed=False), [f"rule: zero_row_load: {WHOLE} holds → 50.00 % (limit"]),
    "rule accepted": (judge(passed=False, overridden=True), [f"rule: zero_row_load: {WHOLE} holds → {WHOLE}"]),
    "a cell more": (
        show(lambda cells: cells.append(cell("z"))), ["notebook 02_stage: cell z: only in the second (Counts)"]
    ),
    "a cell gone": (show(lambda cells: cells.pop()), ["notebook 02_stage: cell a: only in the first (02_stage of"]),
    "a source": (
        show(lambda cells: cells[-1].update(source=["other"])),
        ["notebook 02_stage: cell a: source differs (other)", "    - 02_stage of day 1", "    + other"],
    ),
    "the first screen": (show(lambda cells: cells[0].update(source=["other"])), []),
    "a notebook gone": (
        lambda layout: manifest(layout).with_name("05_analytics.ipynb").unlink(),
        ["notebook 05_analytics: only in the first"],
    ),
    "times": (
        lambda layout: [put(name, value="2029-01-01T00:00:00.000000+00:00")(layout) for name in ("started", "ended")],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_difference_has_its_line(case: str, pair: tuple[Layout, Layout]) -> None:
    change, expected = CASES[case]
    assert differ(*pair) == []
    change(pair[1])
    said = differ(*pair)
    assert len(said) == len(expected) and all(map(str.startswith, said, expected)), said


HTML = "<table><tr><td>rows&nbsp;read</td><td>{}</td></tr><tr><td>run</td><td>{}</td></tr></table>"


def output(count: str, run_id: str) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": [HTML.format(count, run_id)]}}


def picture(content: str) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {"image/png": content, "text/plain": ["a picture"]}}


def test_what_a_cell_shows_is_compared_by_its_lines(pair: tuple[Layout, Layout]) -> None:
    own = pair[0].run_ids()[-1]
    for layout, count, png in ((pair[0], "3", "AAAA"), (pair[1], "4", "AAAB")):
        show(lambda cells: cells.append(cell("t", output(count, own))))(layout)  # noqa: B023 (called at once)
        show(lambda cells: cells.append(cell("p", picture(png))))(layout)  # noqa: B023
    try:
        assert differ(*pair) == [
            "notebook 02_stage: cell t: what it shows differs (Counts)",
            "    - rows read 3",
            "    + rows read 4",
            "notebook 02_stage: cell p: picture differs (Counts)",
        ]
    finally:  # the first folder is every test's
        for _ in range(2):
            show(lambda cells: cells.pop())(pair[0])


def test_a_damaged_notebook_is_named(pair: tuple[Layout, Layout]) -> None:
    path = manifest(pair[1]).with_name("02_stage.ipynb")
    for content, said in (("{", "is not JSON any more"), ('{"cells": [1]}', "is no notebook any more")):
        path.write_text(content)
        with pytest.raises(StoredDataChanged, match=f"02_stage.ipynb: {said}"):
            differ(*pair)


def test_published_days_are_named_where_enough_visits_are_behind_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small(monkeypatch)
    sides = []
    for name, cost in (("a", "11.11"), ("b", "33.33")):
        clinic = Clinic(tmp_path / name)
        visits = [row(f"V{number}", patient_id=f"P{number}", visit_cost=cost) for number in range(10)]
        few = [row(f"few{number}", visit_date="2025-02-27", visit_cost=cost) for number in range(3)]
        same = [row("same", visit_date="2025-02-26", visit_cost="1.00")]
        path = Clinic(tmp_path).deliver([*visits[: 10 if name == "a" else 9], *few, *same])
        result = clinic.run(source=path)
        assert result.run is not None and result.exit_code == 0
        result.run.end("loaded")
        sides.append(layout_of(clinic))
    said = [each for each in differ(*sides) if not each.startswith(("rows", "visits", "delivery", "rule"))]
    assert said == [
        "published: 2 days of 3 differ",
        "    2025-03-01: visits 10 → 9; patient count, total visit cost, avg visit cost differ",
        "    and 1 day with fewer than 8 visits",
    ]
    assert "11.11" not in str(differ(*sides)) and "few" not in str(differ(*sides)).replace("fewer", "")


def test_what_did_not_load_published_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)
    clinic = Clinic(tmp_path)
    keep_run(clinic, 1)
    clinic.deliver([row(f"bad{number}", patient_id="") for number in range(9)])
    held = clinic.run("2025-03-04T00:00:00Z")
    assert held.exit_code == 4
    layout = layout_of(clinic)
    said = diff_runs(*(Side.at(layout, each) for each in layout.run_ids()))
    assert "outcome: loaded → held" in said and "published: only the first run loaded" in said
    assert "notebook 01_extract: only in the first" in said


@pytest.mark.timeout(900)
def test_the_same_delivery_twice_and_two_runs_of_nothing_new_differ_in_nothing(tmp_path: Path) -> None:
    """By the real command: in two data folders, and run after run."""
    clinics = [Clinic(tmp_path / name) for name in ("one", "two")]
    visits = [row(f"V{number}", patient_id=f"P{number}") for number in range(12)]
    for clinic in clinics:
        clinic.config = {"source": {"path": str(clinics[0].deliver([*visits, row("bad", visit_cost="?")]))}}
        assert clinic.command("run", "--as-of", "2025-03-02T00:00:00Z").returncode == 0
    for hour in (6, 7):
        assert clinics[0].command("run", "--as-of", f"2025-03-04T{hour:02}:00:00Z").returncode == 0
    other = ("--other-data-dir", str(clinics[1].data_dir))
    for words in (("1", "1", *other), ("2", "3", "--exit-code"), ("1", "1")):
        ended = clinics[0].command("diff", *words)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        assert ended.stdout.rstrip().endswith("no difference"), ended.stdout
    ended = clinics[0].command("diff", "1", "2", "--exit-code")
    assert ended.returncode == 1 and "batch: new → repeat" in ended.stdout and "V1" not in ended.stdout
    assert clinics[0].command("diff", "1", "9").returncode == 2
