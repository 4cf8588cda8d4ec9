"""What an operator sees: progress per notebook and cell on a terminal, a plain line a stage without one, a summary."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lib.caveats import behind_text, caveats, in_columns
from lib.clock import short_instant, stored_instant
from lib.counted import counted
from lib.execute import Execution
from lib.pipeline import Ended
from lib.reconciliation import FATE_WORDS, reconciliation_line
from lib.run import Run


class PlainProgress:
    """One line a stage: for cron, logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def began(self, run: Run) -> None:
        self._say(f"run {run.run_id} of {run.source}, as of {short_instant(run.as_of)}, window {window_text(run)}")
        if behind := run.manifest.get("behind"):
            self._say(behind_text(behind))

    def resumed(self, run: Run) -> None:
        self._say(f"{resumed_text(run.manifest.content)}, as of {short_instant(run.as_of)}, window {window_text(run)}")

    def repaired(self, run_ids: list[str]) -> None:
        self._say(f"repaired the record of {', '.join(run_ids)}, which ended without closing it")

    def notebook(self, name: str) -> None:
        pass

    def cell(self, name: str, done: int, total: int) -> None:
        pass

    def stopped(self) -> None:
        pass

    def notebook_ended(self, execution: Execution) -> None:
        verdict = "failed" if execution.failure else "ok"
        self._say(f"{execution.notebook:<14}{verdict:<8}{execution.seconds:6.1f} s  {execution.cells} cells")

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


class TerminalProgress(PlainProgress):
    """A moving bar for the notebook under way, a line for each that ended."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def notebook(self, name: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("cells"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(f"{name:<14}", total=None)
        self._bar.start()

    def cell(self, name: str, done: int, total: int) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def stopped(self) -> None:
        """Take the bar away, so that what follows is not drawn over it."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class NoProgress(PlainProgress):
    """--quiet: only what fails is said."""

    def _say(self, line: str) -> None:
        pass


def make_progress(console: Console, quiet: bool) -> PlainProgress:
    """The progress that fits where the output goes."""
    if quiet:
        return NoProgress(console)
    return TerminalProgress(console) if console.is_terminal else PlainProgress(console)


def show_summary(console: Console, ended: Ended) -> None:
    """The table at the end: rows by fate, refusals by reason, gate, watermark, where the record lies."""
    manifest = ended.manifest
    counts = manifest.get("counts")
    console.print()
    if counts:
        rows = Table(show_header=False, box=None, padding=(0, 2))
        for name, words in FATE_WORDS.items():
            rows.add_row(words, Text(f"{counts[name]:,}", justify="right"))
        console.print(rows)
        if manifest.get("reasons"):
            known = counts["known_refused"]
            again = f" ({known:,} of the rows were refused before)" if known else ""
            console.print(Text(f"refusals by reason{again}"))
            console.print(_reasons(manifest["reasons"]))
        console.print(Text(reconciliation_line(counts, ended.outcome == "loaded")), soft_wrap=True)
    for line in _facts(ended):
        console.print(Text(line), soft_wrap=True)


def _reasons(reasons: dict[str, int]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2))
    for reason, rows in reasons.items():
        table.add_row(reason, Text(f"{rows:,}", justify="right"))
    return table


def _facts(ended: Ended) -> list[str]:
    manifest = ended.manifest
    gate = (manifest.get("gate") or {}).get("summary", "not reached")
    before = _instant(manifest.get("committed_watermark"))
    after = _instant((manifest.get("load") or {}).get("watermark_after")) if ended.outcome == "loaded" else before
    load = manifest.get("load") or {}
    batch = (manifest.get("batch") or {}).get("kind")
    lines = [f"gate       {gate}", f"watermark  {before} → {after}"]
    if ended.outcome == "loaded" and load:  # a full disk may have kept it from the manifest
        changed = f"{counted(load['days_touched'], 'day')} touched, {load['days_restated']:,} of them published before"
        again = "nothing new: the last loaded batch again; " if batch == "repeat" else ""
        lines.append(f"tables     {again}{changed}")
    lines += in_columns(caveats(manifest))
    lines.append(f"record     {ended.record}")
    lines.append(f"outcome    {ended.outcome}" + (f", exit {ended.exit_code}" if ended.exit_code else ""))
    return lines


def window_text(run: Run) -> str:
    """The window in words."""
    if run.options.full_refresh:
        return "all rows (a full refresh)"
    cutoff = run.window.cutoff
    return f"from {short_instant(cutoff)}" if cutoff else "all rows (no watermark yet)"


def resumed_text(manifest: dict[str, Any]) -> str:
    """Of a resumed run: which attempt it is and after what it goes on."""
    attempts = manifest["attempts"]
    return f"run {manifest['run_id']} resumed after {attempts[-1]['after']}, attempt {len(attempts)}"


def _instant(text: Any) -> str:
    value = stored_instant(text)
    return short_instant(value) if value else "none"


class _Console(Console):
    """Whose reader may go away, as in `run | head`: the run goes on, and nobody is told."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def consoles() -> tuple[Console, Console]:
    """Where results go and where errors go. Width fixed off a terminal, so that logs do not depend on it."""
    width = None if sys.stdout.isatty() else 160
    return _Console(width=width, highlight=False), _Console(stderr=True, width=width, highlight=False)
