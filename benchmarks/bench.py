"""Measure the real command: one run on many visits, one on the next day's increment.

    make bench ARGS="--rows 1000000"        # or: python benchmarks/bench.py --help

Exit 1 when a run fails, or when a process needed more memory than --max-gib. Times are shown and never judged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

sys.path.append(str(Path(__file__).resolve().parent))
from make_visits import EXPORT, INCREMENT_ROWS, NEXT_EXPORT, write_deliveries

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks" / "out"
SAMPLE_SECONDS = 0.05
MIB = 2**20


@dataclass
class Process:
    """One process of the tree: peak resident bytes, processor seconds until it was last seen."""

    is_kernel: bool = False
    peak: int = 0
    cpu: float = 0.0


@dataclass
class Tree:
    """What the command and its children took. `parent_peaks`: the command's own peak while each kernel was newest."""

    seen: dict[int, Process] = field(default_factory=dict)
    parent_peaks: dict[int, int] = field(default_factory=dict)
    peak_sum: int = 0

    @property
    def kernels(self) -> list[Process]:
        """The notebooks' kernels, in the order in which they started."""
        return [each for each in self.seen.values() if each.is_kernel]

    def look(self, parent: psutil.Process) -> None:
        """One sample of the tree. Shared pages count once per process, so the sum is too high rather than too low."""
        resident = 0
        for each in (parent, *parent.children(recursive=True)):
            try:
                process = self.seen.setdefault(each.pid, Process())
                if not process.is_kernel and any(part.endswith("kernel_start.py") for part in each.cmdline()):
                    self.seen[each.pid] = process = Process(is_kernel=True)  # until now a copy of its parent
                now = each.memory_info().rss
                process.peak = max(process.peak, now, _high_water(each.pid))
                process.cpu = sum(each.cpu_times()[:2])
            except psutil.Error:  # it ended meanwhile
                continue
            resident += now
            if each.pid == parent.pid:
                stage = len(self.kernels)
                self.parent_peaks[stage] = max(self.parent_peaks.get(stage, 0), now)
        self.peak_sum = max(self.peak_sum, resident)


@dataclass(frozen=True)
class Measured:
    """One run of the command: exit code, wall-clock seconds, what its processes took, its manifest."""

    exit_code: int
    seconds: float
    tree: Tree
    manifest: dict[str, Any]

    @property
    def largest(self) -> int:
        """Peak resident bytes of the process that needed most."""
        return max((each.peak for each in self.tree.seen.values()), default=0)


def measure(source: Path, data_dir: Path, as_of: str) -> Measured:
    """Run the pipeline on `source` and watch its processes until it ends."""
    command = [sys.executable, "run_pipeline.py", "--quiet", "--source", str(source), "--data-dir", str(data_dir)]
    tree, ended = Tree(), threading.Event()
    began = time.monotonic()
    with subprocess.Popen([*command, "--as-of", as_of], cwd=ROOT) as process:
        parent = psutil.Process(process.pid)

        def watch() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                try:
                    tree.look(parent)
                except psutil.NoSuchProcess:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            exit_code = process.wait()
        finally:
            ended.set()
            watcher.join()
    seconds = time.monotonic() - began
    manifests = sorted((data_dir / "runs").glob("*/manifest.json"))
    return Measured(exit_code, seconds, tree, json.loads(manifests[-1].read_text()) if manifests else {})


def show(title: str, measured: Measured) -> None:
    """Print one run: a line a stage, then the whole."""
    notebooks, kernels = measured.manifest.get("notebooks", []), measured.tree.kernels
    print(f"\n{title}\n{'stage':<14}{'seconds':>9}{'cpu s':>9}{'kernel MiB':>12}{'parent MiB':>12}")
    for place, notebook in enumerate(notebooks):
        kernel = kernels[place] if place < len(kernels) else Process()
        parent = measured.tree.parent_peaks.get(place + 1, 0)
        print(
            f"{notebook['notebook']:<14}{notebook['seconds']:>9.1f}{kernel.cpu:>9.1f}"
            f"{kernel.peak / MIB:>12,.0f}{parent / MIB:>12,.0f}"
        )
    own = next(iter(measured.tree.seen.values()), Process())
    rest = measured.seconds - sum(each["seconds"] for each in notebooks)
    print(f"{'the command':<14}{rest:>9.1f}{own.cpu:>9.1f}{'':>12}{own.peak / MIB:>12,.0f}")
    cpu = sum(each.cpu for each in measured.tree.seen.values())
    print(f"{'all':<14}{measured.seconds:>9.1f}{cpu:>9.1f}")
    counts = measured.manifest.get("counts", {})
    print(
        f"largest process {measured.largest / 2**30:.2f} GiB, all at once {measured.tree.peak_sum / 2**30:.2f} GiB; "
        f"{counts.get('rows_read', 0):,} rows read, {counts.get('staged', 0):,} staged, "
        f"outcome {measured.manifest.get('outcome', 'none')}"
    )


def _high_water(pid: int) -> int:
    """The system's own record of the peak, which no sample can miss; 0 where there is none (other than Linux)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure time and memory of the pipeline, stage by stage.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the first delivery (1000000)")
    parser.add_argument("--increment", type=int, default=INCREMENT_ROWS, help=f"rows of the next ({INCREMENT_ROWS})")
    parser.add_argument("--max-gib", type=float, default=2.0, help="what one process may take at most (2)")
    parser.add_argument("--keep", action="store_true", help="leave the data in benchmarks/out")
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    made = tempfile.mkdtemp(dir=OUT) if options.keep else tempfile.TemporaryDirectory(dir=OUT)
    with nullcontext(made) if isinstance(made, str) else made as folder:
        sources = write_deliveries(Path(folder), options.rows, options.increment)
        print(f"{os.cpu_count()} processors, {psutil.virtual_memory().total / 2**30:.0f} GiB; {folder}")
        failed = False
        for source, clock in zip(sources, (EXPORT, NEXT_EXPORT), strict=True):
            measured = measure(source, Path(folder) / "data", clock.strftime("%Y-%m-%dT%H:%M:%SZ"))
            show(f"{source.name}, {source.stat().st_size / MIB:,.1f} MiB", measured)
            if measured.exit_code:
                print(f"the run failed with exit code {measured.exit_code}", file=sys.stderr)
                return 1
            if measured.largest > options.max_gib * 2**30:
                print(f"a process took more than {options.max_gib:g} GiB", file=sys.stderr)
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
