"""watch: a run for each new delivery as it comes, by kernels that are warm, until it is told to stop.

Between runs nothing is held: a run started by hand goes its way, and this one waits for its turn. What a failed run
means for the next is the exit code's: held or refused, the next delivery is waited for; locked or out of room, it is
tried again, less and less often; where something stored is not what it was, a person must look, so this ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from lib.arrivals import Arrivals
from lib.confidential import log_exception
from lib.config import load_settings
from lib.counted import counted
from lib.errors import PipelineError, StoredDataChanged, TemporaryFailure, UsageError, WarehouseLocked, as_ours
from lib.interrupts import was_signalled
from lib.pipeline import Ended, Progress, run_pipeline
from lib.provenance import code_hashes
from lib.run import Options
from lib.store.place import log_folder
from lib.template import Template

LONGEST_PAUSE = 60.0
"""Seconds: the most that is waited before a failed run is tried again."""
AGAIN = (TemporaryFailure.exit_code, WarehouseLocked.exit_code)
ENDING = (UsageError.exit_code, StoredDataChanged.exit_code)


@dataclass(frozen=True)
class Watched:
    """One run of the watch: how it ended, or with which code and words it could not begin; seconds that it took."""

    exit_code: int
    message: str | None
    ended: Ended | None
    seconds: float

    @property
    def line(self) -> str:
        """The run in a line: how it ended, the rows it read and staged, how long it took."""
        if self.ended is None:
            return f"no run: exit {self.exit_code} after {self.seconds:.1f} s"
        counts = self.ended.manifest.get("counts", {})
        rows = f", {counted(counts['rows_read'], 'row')} read, {counts['staged']:,} staged" if counts else ""
        code = f", exit {self.exit_code}" if self.exit_code else ""
        return f"run {self.ended.manifest['run_id']} {self.ended.outcome}{rows}, {self.seconds:.1f} s{code}"


def watch(
    config_file: str,
    data_dir: str | Path,
    *,
    given: dict[str, Any],
    template: Template | None,
    progress: Progress,
    tell: Callable[[Watched], None],
) -> int:
    """Run for each delivery until a signal comes; the exit code: 0, that of a run that was interrupted, or of one after
    which a person must look. `tell` hears of each run. When the code is edited, this process starts itself again.

    Raises UsageError for a source that is a query: nothing tells when its result has changed."""
    began_with = code_hashes()
    failures, pause_until = 0, 0.0
    source = load_settings(config_file, **given).source
    if source.kind != "files":
        raise UsageError("watch: waits for files, but the source is a query; have a timer such as cron run that.")
    with _stopping() as stopped, Arrivals(source.path) as arrivals:
        while not stopped():
            new = arrivals.whole() if time.monotonic() >= pause_until else {}
            if not new:
                arrivals.wait(stopped)
                continue
            if code_hashes() != began_with:
                _start_again(template)
            watched = _run(config_file, data_dir, given, template, progress)
            tell(watched)
            if watched.exit_code in ENDING or was_signalled():
                return watched.exit_code
            if watched.exit_code not in AGAIN:
                arrivals.taken(new)
            failures = failures + 1 if watched.exit_code in (1, *AGAIN) else 0
            pause_until = time.monotonic() + (min(2.0 ** (failures - 1), LONGEST_PAUSE) if failures else 0)
    return 0


def _run(
    config_file: str, data_dir: str | Path, given: dict[str, Any], template: Template | None, progress: Progress
) -> Watched:
    began = time.monotonic()
    try:
        ended = run_pipeline(
            load_settings(config_file, **given),
            config_file=config_file,
            data_dir=data_dir,
            as_of=None,
            options=Options(given=given),
            progress=progress,
            template=template,
        )
    except Exception as error:
        ours = as_ours(error)
        if isinstance(ours, PipelineError):
            return Watched(ours.exit_code, str(ours), None, time.monotonic() - began)
        log = log_folder(data_dir) / "unexpected.log"
        log_exception(log, error, "watch")
        told = f"unexpected failure ({type(error).__name__}); details in {log}."
        return Watched(1, told, None, time.monotonic() - began)
    return Watched(ended.exit_code, ended.message, ended, time.monotonic() - began)


def _start_again(template: Template | None) -> None:
    """By the code as it is now: a record must name the code that made it. The process keeps its number."""
    if template is not None:
        template.close()
    os.execv(sys.executable, [sys.executable, *sys.argv])


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether a signal asked to stop. While a run is under way, signals are the run's (lib/pipeline.py)."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
