"""--resume: the newest run goes on after its last notebook that ended well, if all that decided it is as it was
(lib/resumable.py).

Each attempt is kept: its executed notebooks under names of their own, its times and outcome in the manifest's
`attempts`, the last of which is the one that is under way or ended last.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from lib import provenance
from lib.clock import instant_text, now
from lib.errors import UsageError
from lib.files import sync_folder
from lib.layout import NOTEBOOKS, Layout
from lib.manifest import FILE_NAME, Manifest
from lib.run import Run
from lib.store.place import Place

WITHOUT = "run without --resume"
ATTEMPT = ("started", "ended", "outcome", "exit_code", "message", "notebooks", "actor", "host", "recovered", "lost")
"""What an attempt's entry takes from the manifest."""


def newest_run(place: Place) -> Run:
    """The newest run that got as far as a manifest. Raises UsageError when there is none."""
    layout = Layout.at(place, None)
    begun = [each for each in layout.run_ids() if (layout.record(each) / FILE_NAME).exists()]
    if not begun:
        raise UsageError(f"--resume: no run has begun here yet; {WITHOUT}.")
    return Run.existing(place, begun[-1])


def finished_notebooks(run: Run) -> list[str]:
    """The notebooks of the run that ended well, in order, as its outer process saw them end."""
    return list(run.manifest.get("finished", []))


def unfinished_notebooks(run: Run) -> list[str]:
    """Those that a resumed run executes, in order."""
    return list(NOTEBOOKS[len(finished_notebooks(run)) :])


def note_finished(run: Run, notebook: str) -> None:
    """Note in the manifest that a notebook ended well: should this process be killed, nobody else knows.

    Without room for it on the disk the run goes on: a resumed one would execute the notebook again.
    """
    with suppress(OSError):
        manifest = Manifest.read(run.record)  # kernels write it too
        manifest.record(finished=list(NOTEBOOKS[: NOTEBOOKS.index(notebook) + 1]))


def reopen(run: Run) -> None:
    """Begin the next attempt: the manifest is open again, and the copies of what is executed again get names of their
    own. Clock, window and run id are those that the run began with; the code is what is there now."""
    manifest, ended = run.manifest, attempts(run)
    code = provenance.code_hashes()
    replaced = {path: sha256 for path, sha256 in manifest["code"].items() if code.get(path) != sha256}
    ended[-1] = {**ended[-1], "replaced_code": replaced}
    started = {"started": instant_text(now()), "actor": provenance.actor(), "host": provenance.host()}
    manifest.record(
        outcome="running",
        ended=None,
        exit_code=None,
        message=None,
        attempts=[*ended, {**started, "after": finished_notebooks(run)[-1]}],
        code=code,
        git=provenance.git_state(),
    )
    for name in unfinished_notebooks(run):
        executed = run.record / f"{name}.ipynb"
        if executed.exists():
            executed.rename(executed.with_name(f"{name}.attempt-{len(ended)}.ipynb"))
    sync_folder(run.record)


def attempts(run: Run) -> list[dict[str, Any]]:
    """Every attempt at the run so far, first to last; of a run that was never resumed, the one."""
    known: list[dict[str, Any]] = run.manifest.get("attempts") or []
    return list(known) or [{name: run.manifest.get(name) for name in ATTEMPT}]
