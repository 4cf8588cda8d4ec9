"""The benchmark measures what it says: the same job, the same tables, ratios that can be worked out by hand.

Without a network, so without dbt; nothing here asserts a time.
"""

import json
import sqlite3
import sys
from pathlib import Path

import pytest

from benchmarks import bench, kinds, plot, report
from benchmarks.contenders import Ours, Pandas
from benchmarks.deliveries import cut, two_deliveries, widened
from benchmarks.make_visits import EXPORT, NEXT_EXPORT
from benchmarks.measure import FULL, INCREMENT, ON_EMPTY, Bench, Results
from benchmarks.processes import watched
from benchmarks.tables import Tables, differences

ROWS = 1_000
MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_gib": 24,
    "system": "Linux",
    "python": "3.11.7",
    "packages": {"duckdb": "2.0.0"},
    "commit": "0123456789ab",
    "dirty": False,
    "load_before": 0.1,
}


def of(contender: str, job: str, rows: int, *seconds: float) -> list[dict[str, object]]:
    return [
        {
            "contender": contender,
            "job": job,
            "rows": rows,
            "repeat": n,
            "seconds": s,
            "cpu": s,
            "pss": 2**29,
            "rss": 2**30,
        }
        for n, s in enumerate(seconds)
    ]


def stored(*loads: list[dict[str, object]]) -> dict[str, object]:
    return {
        "settings": {"peers": {"dbt-core": "1.11.16"}},
        "machine": MACHINE,
        "loads": [each for some in loads for each in some],
        "tables": [],
        "looks": [],
        "growth": [],
        "notes": [],
        "problems": [],
    }


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    one = [path.read_bytes() for path in two_deliveries(tmp_path / "one", 50)]
    other = [path.read_bytes() for path in two_deliveries(tmp_path / "other", 50)]
    assert one == other
    assert one[0].count(b"\n") == 51


def test_a_folder_is_cut_from_all_rows_and_a_wide_file_keeps_short_rows_short(tmp_path: Path) -> None:
    files = sorted(cut(tmp_path, 100, 4).iterdir())
    lines = [path.read_text().splitlines() for path in files]
    assert [len(each) for each in lines] == [26] * 4
    assert len({line for each in lines for line in each[1:]}) > 90
    wide = [line.count(",") for line in widened(tmp_path, 4_000, 3).read_text().splitlines()]
    assert set(wide) == {9, 3}


def test_a_tree_of_processes_is_summed(tmp_path: Path) -> None:
    code = "x = bytearray(80 << 20); import time; time.sleep(2)"
    both = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {code!r}]); {code}; p.wait()"
    took = watched([sys.executable, "-c", both], cwd=tmp_path, log=tmp_path / "log")
    assert took.exit_code == 0
    assert took.rss > 160 << 20
    assert sys.platform != "linux" or 160 << 20 < took.pss <= took.rss


@pytest.mark.timeout(300)
def test_ours_and_pandas_say_the_same_and_the_time_is_accounted_for(tmp_path: Path) -> None:
    ours, pandas = Ours("ours"), Pandas(tmp_path, Path(sys.executable))
    results = Results({}, MACHINE)
    kept = Bench({"sqlite": ours, "pandas": pandas}, tmp_path, results, 2.5, lambda _: None)
    kept.compare(ROWS, repeats=1, full_repeats=1)
    assert results.problems == []
    told = {(each["contender"], each["job"]): each for each in results.tables}
    for job in (FULL, INCREMENT, ON_EMPTY):
        assert told["sqlite", job]["visits"] == told["pandas", job]["visits"] > 900
        assert told["sqlite", job]["facts_hash"] == told["pandas", job]["facts_hash"]
    kept.everyone.pop("pandas")
    kept.look(ROWS)
    for look in results.looks:
        assert sum(look["stages"].values()) == pytest.approx(look["seconds"])
        assert sum(look["kinds"].values()) == pytest.approx(look["seconds"])
        assert min(look["kinds"].values()) >= 0
        assert look["kinds"]["imports"] > 0


def test_a_wrong_table_is_a_problem(tmp_path: Path) -> None:
    pandas = Pandas(tmp_path, Path(sys.executable))
    first, following = two_deliveries(tmp_path / "data", ROWS)
    pandas.load(tmp_path, first, EXPORT)
    right = pandas.tables(tmp_path)
    with sqlite3.connect(tmp_path / "visits.db") as database:
        database.execute(
            "UPDATE fact_visits SET provider_id = 'PR999' WHERE visit_id = (SELECT min(visit_id) FROM fact_visits)"
        )
    assert differences(right, pandas.tables(tmp_path), same_refused=True) == ["a fact"]
    pandas.load(tmp_path, following, NEXT_EXPORT)
    assert differences(right, pandas.tables(tmp_path), same_refused=True)[0].startswith("visits ")
    fewer = Tables(**(right.told() | {"refused": right.refused + 1}))
    assert differences(right, fewer, same_refused=False) == []
    assert differences(right, fewer, same_refused=True) == [f"refused {right.refused} and {right.refused + 1}"]


def test_a_failure_and_too_much_memory_are_problems(tmp_path: Path) -> None:
    results = Results({}, MACHINE)
    broken = Pandas(tmp_path, Path("/bin/false"))
    Bench({"pandas": broken}, tmp_path, results, 2.5, lambda _: None).compare(20, repeats=1, full_repeats=1)
    assert [each.splitlines()[0] for each in results.problems] == [
        "pandas + SQLite: full load of 20 rows: exit code 1",
        "pandas + SQLite: increment on empty of 20 rows: exit code 1",
    ]
    assert results.loads == []


def test_ratios_are_of_medians() -> None:
    results = stored(
        of("sqlite", FULL, 1_000, 5, 4, 9),
        of("dbt", FULL, 1_000, 10),
        of("sqlite", FULL, 1_000_000, 15),
        of("sqlite", FULL, 10_000_000, 85),
        of("sqlite", INCREMENT, 10_000_000, 6),
        of("sqlite", ON_EMPTY, 10_000_000, 5),
        of("pandas", FULL, 10_000_000, 170),
    )
    assert all(each.cpu == each.wall for each in report.ratios(results))  # here both are the same
    found = {each.words: each.wall for each in report.ratios(results)}
    assert found == {
        "full load of 1k, ours, SQLite / dbt-duckdb": 0.5,
        "1k increment on 10M loaded, ours, SQLite / on an empty table": 1.2,
        "pandas + SQLite / full load of 10M, ours, SQLite": 2.0,
        "10M / 1M above the fixed price, ours, SQLite": 8.0,
    }


def test_table_and_plot_come_from_stored_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = stored(of("sqlite", FULL, 1_000, 5, 4, 9), of("sqlite", INCREMENT, 1_000, 4), of("dbt", FULL, 1_000, 10))
    (tmp_path / "stored.json").write_text(json.dumps(results))
    assert bench.main(["--from", str(tmp_path / "stored.json"), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text()
    assert "| 1k | full load | ours, SQLite | **5.0** | 4.0–9.0 | 3 | 5.0 | 0.50 | 1.00 |" in text
    assert (
        "a processor, 2 cores, 24 GiB, Linux, Python 3.11.7, duckdb 2.0.0, dbt-core 1.11.16; commit 0123456789ab;"
        in text
    )
    assert (tmp_path / "speed.svg").read_text().lstrip().startswith("<?xml")
    assert plot.write_plot(results, tmp_path / "speed.png").stat().st_size > 0
    results["problems"] = ["dbt-duckdb: full load of 1,000 rows: exit code 1\nwhy"]
    (tmp_path / "stored.json").write_text(json.dumps(results))
    assert bench.main(["--from", str(tmp_path / "stored.json"), "--out", str(tmp_path)]) == 1
    assert "exit code 1" in capsys.readouterr().err


def test_notebooks_without_stamps_give_no_kinds(tmp_path: Path) -> None:
    assert kinds.by_kind(tmp_path, 0.0, 1.0, []) == {}


@pytest.mark.parametrize(("text", "meant"), [("1k", 1_000), ("10M", 10_000_000), ("250", 250)])
def test_sizes_are_read(text: str, meant: int) -> None:
    assert bench.number(text) == meant
    assert report.number_in_words(meant) == text
