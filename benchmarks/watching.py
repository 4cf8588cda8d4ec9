"""Measure `watch`: from a file's arrival to the commit, and the memory of its processes over many deliveries.

    python -m benchmarks.watching [--deliveries 500] [--rows 100]

Each delivery comes by a rename when the record of the one before it is closed and its page written. Times are shown,
never judged; exit 1 when a delivery is not loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from benchmarks.processes import memory_of, with_children

ROOT = Path(__file__).resolve().parent.parent
HEADER = "visit_id,patient_id,provider_id,diagnosis_code,visit_date,visit_cost,last_updated\n"
MIB = 2**20
WAIT_SECONDS = 120


def rows(delivery: int, count: int) -> str:
    """Invented visits, each delivery's own."""
    day = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=delivery)
    lines = [
        f"V{delivery:05}-{n:05},P{n % 40},D{n % 7},J06.{n % 9},{day:%Y-%m-%d},{n % 300}.50,{day:%Y-%m-%dT%H:%M:%SZ}\n"
        for n in range(count)
    ]
    return HEADER + "".join(lines)


def committed(data_dir: Path, run: int) -> float | None:
    """When the run's commit took place, as seconds since 1970; None before it."""
    try:
        with sqlite3.connect(f"file:{data_dir / 'warehouse.db'}?mode=ro", uri=True, timeout=5) as connection:
            found = connection.execute("SELECT committed FROM runs ORDER BY run_id LIMIT 1 OFFSET ?", [run]).fetchone()
    except sqlite3.Error:
        return None
    return datetime.fromisoformat(found[0]).timestamp() if found else None


def closed(data_dir: Path, run: int) -> float | None:
    """When the run's page was written, the last thing that a run does but for the index; None before it."""
    records = sorted(data_dir.glob("runs/0*"))
    page = records[run] / "report.html" if len(records) > run else None
    return page.stat().st_mtime if page and page.exists() else None


def wait_for(what: Callable[[], float | None], process: subprocess.Popen[bytes]) -> float:
    """The instant that `what()` tells, once it tells one. Raises RuntimeError when the watch ended, or is late."""
    end = time.monotonic() + WAIT_SECONDS
    while (instant := what()) is None:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"a delivery was not loaded; the watch's exit code: {process.poll()}")
        time.sleep(0.02)
    return instant


def measure(folder: Path, deliveries: int, count: int) -> dict[str, list[float]]:
    """Seconds from arrival to the commit and to the page, MiB (PSS) of the watch and of all its processes."""
    inbox, data_dir = folder / "inbox", folder / "data"
    inbox.mkdir()
    words = [sys.executable, "run_pipeline.py", "watch", "--source", str(inbox), "--data-dir", str(data_dir), "--quiet"]
    process = subprocess.Popen(words, cwd=ROOT)
    found: dict[str, list[float]] = {"commit": [], "page": [], "watch MiB": [], "all MiB": []}
    try:
        for delivery in range(deliveries):
            part = inbox / ".part"
            part.write_text(rows(delivery, count))
            part.rename(inbox / f"{delivery:05}.csv")
            came = time.time()
            found["commit"].append(wait_for(partial(committed, data_dir, delivery), process) - came)
            found["page"].append(wait_for(partial(closed, data_dir, delivery), process) - came)
            time.sleep(0.3)  # the index, the next look
            memory = [memory_of(each)[0] for each in with_children(process.pid)]
            found["watch MiB"].append(memory_of(process.pid)[0] / MIB)
            found["all MiB"].append(sum(memory) / MIB)
            if delivery % 50 == 0 or delivery == deliveries - 1:
                print(f"{delivery:5}", *(f"{name} {values[-1]:.2f}" for name, values in found.items()), flush=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the watch: time from arrival to commit, memory over many.")
    parser.add_argument("--deliveries", type=int, default=500)
    parser.add_argument("--rows", type=int, default=100, help="rows of each delivery (100)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        found = measure(Path(name), options.deliveries, options.rows)
    print(f"{options.deliveries} deliveries of {options.rows} rows; the first is not counted: it starts the watch")
    for name in ("commit", "page"):
        values = sorted(found[name][1:])
        at = {share: values[min(int(share * len(values)), len(values) - 1)] for share in (0.05, 0.95)}
        print(f"arrival to {name}: median {statistics.median(values):.2f} s, 5 % {at[0.05]:.2f}, 95 % {at[0.95]:.2f}")
    tenth = max(len(found["watch MiB"]) // 10, 1)
    for name in ("watch MiB", "all MiB"):
        first, last = (statistics.median(part) for part in (found[name][1 : tenth + 1], found[name][-tenth:]))
        print(f"{name}: median of the first tenth {first:.0f}, of the last {last:.0f}")
    (ROOT / "benchmarks" / "out").mkdir(exist_ok=True)
    (ROOT / "benchmarks" / "out" / "watching.json").write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
