"""watch: what counts as a delivery that has come, what a run's end means for the next, and the command itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib import arrivals, watch
from lib.arrivals import Arrivals
from lib.errors import StoredDataChanged, TemporaryFailure, UsageError
from lib.pipeline import Ended
from tests.pipeline.clinic import ROOT, csv_text, row
from tests.waiting import wait_for

# What has come


@pytest.fixture(params=["told by the system", "looked for"])
def watched(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arrivals]:
    if request.param == "looked for":
        monkeypatch.setattr(arrivals, "_listen", lambda folder: None)
        monkeypatch.setattr(arrivals, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(arrivals, "REST_SECONDS", 0.2)
    with Arrivals(str(tmp_path)) as watched:
        yield watched


def come(watched: Arrivals) -> list[str]:
    """The names that are whole, asked until nothing more happens."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if new := watched.whole():
            return sorted(Path(each).name for each in new)
        watched.wait(lambda: False)
    return []


def test_a_file_that_was_there_before_has_come(watched: Arrivals, tmp_path: Path) -> None:
    assert come(watched) == []
    (tmp_path / "a.csv").write_text("x")
    assert come(watched) == ["a.csv"]


def test_what_was_taken_is_no_news_until_it_changes(watched: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    assert come(watched) == ["a.csv"]
    watched.taken(watched.whole())
    assert come(watched) == []
    (tmp_path / "a.csv").write_text("xy")
    assert come(watched) == ["a.csv"]


def test_a_file_under_another_name_comes_when_it_is_renamed(watched: Arrivals, tmp_path: Path) -> None:
    (tmp_path / ".a.part").write_text("x")
    assert come(watched) == []
    (tmp_path / ".a.part").rename(tmp_path / "a.csv")
    assert come(watched) == ["a.csv"]


def test_a_file_that_is_being_written_has_not_come(watched: Arrivals, tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w") as stream:
        for _ in range(6):
            stream.write("x")
            stream.flush()
            assert watched.whole() == {}
            time.sleep(0.01)
    assert come(watched) == ["a.csv"]


def test_a_file_that_grows_while_another_is_whole_is_waited_for(watched: Arrivals, tmp_path: Path) -> None:
    with (tmp_path / "b.csv").open("w") as stream:
        (tmp_path / "a.csv").write_text("x")
        for _ in range(3):
            stream.write("y")
            stream.flush()
            assert watched.whole() == {}
            time.sleep(0.01)
    assert come(watched) == ["a.csv", "b.csv"]


def test_a_named_file_may_be_missing_and_come(tmp_path: Path) -> None:
    with Arrivals(str(tmp_path / "a.csv")) as watched:
        assert come(watched) == []
        (tmp_path / "other.csv").write_text("x")
        assert come(watched) == []
        (tmp_path / "a.csv").write_text("x")
        assert come(watched) == ["a.csv"]


# What a run's end means for the next


class Rehearsed:
    """A watch whose runs end as the test says; time does not pass but in its waits."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *ends: int | Exception) -> None:
        self.folder, self.ends = folder, list(ends)
        self.clock, self.runs, self.told = 0.0, [], []  # type: ignore[var-annotated]
        monkeypatch.setattr(watch, "run_pipeline", self.run)
        monkeypatch.setattr(watch.time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(watch.Arrivals, "wait", lambda _, stopped: self.wait())

    def run(self, *_: Any, **__: Any) -> Ended:
        self.runs.append(self.clock)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return Ended(end, "loaded", None, {"run_id": f"run {len(self.runs)}"}, self.folder)

    def wait(self) -> None:
        self.clock += 0.25
        if not self.ends or self.clock > 1000:
            os.kill(os.getpid(), signal.SIGTERM)

    def watch(self) -> int:
        source = self.folder / "in"
        source.mkdir()
        (source / "a.csv").write_text("x")
        return watch.watch(
            str(ROOT / "config.yaml"),
            self.folder / "data",
            given={"source__path": str(source)},
            template=None,
            progress=None,  # type: ignore[arg-type]
            tell=self.told.append,
        )


def test_a_query_cannot_be_watched(tmp_path: Path) -> None:
    config = tmp_path / "query.yaml"
    config.write_text("source: {kind: query, query: {url: 'sqlite:///emr.db', sql: SELECT 1}}")
    with pytest.raises(UsageError, match=r"^watch: waits for files, but the source is a query; "):
        watch.watch(str(config), tmp_path, given={}, template=None, progress=None, tell=print)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [0, 3, 4, 8])
def test_a_delivery_is_run_once_whatever_the_gate_said(
    end: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed = Rehearsed(tmp_path, monkeypatch, end, 0)
    assert rehearsed.watch() == 0
    assert len(rehearsed.runs) == 1 and [each.exit_code for each in rehearsed.told] == [end]


def test_a_temporary_failure_is_tried_again_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [TemporaryFailure("no room"), 5, *[7] * 7, 0, 0]
    rehearsed = Rehearsed(tmp_path, monkeypatch, *ends)
    assert rehearsed.watch() == 0
    pauses = [round(later - earlier) for earlier, later in zip(rehearsed.runs, rehearsed.runs[1:], strict=False)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert rehearsed.told[0].message == "no room" and rehearsed.told[0].line == "no run: exit 7 after 0.0 s"


@pytest.mark.parametrize(("end", "code"), [(StoredDataChanged("altered"), 6), (6, 6), (2, 2)])
def test_where_a_person_must_look_the_watch_ends(
    end: int | Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed = Rehearsed(tmp_path, monkeypatch, end, 0)
    assert rehearsed.watch() == code
    assert len(rehearsed.runs) == 1


def test_an_unexpected_failure_is_logged_and_not_tried_again_with_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "logs").mkdir(parents=True)
    rehearsed = Rehearsed(tmp_path, monkeypatch, ZeroDivisionError("V-123"), 0)
    assert rehearsed.watch() == 0
    assert len(rehearsed.runs) == 1
    assert "V-123" not in rehearsed.told[0].message and "ZeroDivisionError" in rehearsed.told[0].message
    assert "ZeroDivisionError" in (tmp_path / "data/logs/unexpected.log").read_text()


def test_edited_code_starts_the_watch_again_before_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed = Rehearsed(tmp_path, monkeypatch, 0)
    hashes = iter([{"lib/load.py": "1"}, {"lib/load.py": "2"}])
    monkeypatch.setattr(watch, "code_hashes", lambda: next(hashes))
    started: list[list[str]] = []

    def start_again(_: str, words: list[str]) -> None:
        started.append(words)
        raise SystemExit

    monkeypatch.setattr(watch.os, "execv", start_again)
    with pytest.raises(SystemExit):
        rehearsed.watch()
    assert started == [[sys.executable, *sys.argv]] and rehearsed.runs == []


# The command


def rows(day: int) -> str:
    stamp = f"2025-03-{day:02}T12:00:00Z"
    return csv_text([row(f"V{day}-{n}", visit_date=f"2025-03-{day:02}", last_updated=stamp) for n in range(3)])


def test_each_delivery_has_its_run_and_a_signal_ends_the_watch(tmp_path: Path) -> None:
    source, data_dir = tmp_path / "in", tmp_path / "data"
    source.mkdir()
    (source / "day1.csv").write_text(rows(1))
    words = [sys.executable, "run_pipeline.py"]
    where = ["--source", str(source), "--data-dir", str(data_dir)]
    process = subprocess.Popen(
        [*words, "watch", *where], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def manifests() -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted(data_dir.glob("runs/0*/manifest.json"))]

    def loaded(runs: int) -> bool:
        assert process.poll() is None
        return [each["outcome"] for each in manifests()] == ["loaded"] * runs

    try:
        wait_for(lambda: loaded(1))
        (source / ".day2.part").write_text(rows(2))
        (source / ".day2.part").rename(source / "day2.csv")
        wait_for(lambda: loaded(2))
        with (source / "day3.csv").open("w") as stream:  # as upstream writes: slowly, in place
            for line in rows(3).splitlines(keepends=True):
                stream.write(line)
                stream.flush()
                time.sleep(0.3)
            assert loaded(2), "half a file is no delivery"
        wait_for(lambda: loaded(3))
        wait_for(lambda: (data_dir / "runs" / manifests()[-1]["run_id"] / "report.html").exists())
        time.sleep(1)
        assert loaded(3), "nothing new, no run"
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    assert [line.split(",")[0].split()[-1] for line in out.splitlines()] == ["loaded"] * 3
    assert [each["counts"]["rows_read"] for each in manifests()] == [3, 3, 3]
    verified = subprocess.run([*words, "verify", "--data-dir", str(data_dir)], cwd=ROOT, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
