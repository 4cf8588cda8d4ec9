"""The template of kernels: what forks share, what they do not, and that none is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from lib import template_start
from lib.kernels import Kernel
from lib.layout import NOTEBOOKS
from lib.template import LONG_IMPORTS, Template
from tests.unit.test_kernels import ROOT, alive, answer
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not Template.supported, reason="kernels are forked on Linux only")


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with Template() as template:
        yield template


def forked(template: Template, folder: Path) -> Kernel:
    return Kernel("run-1", folder, folder / "run.log", template)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_fork_is_a_process_of_its_own(tmp_path: Path, template: Template) -> None:
    """Group, folder, environment, arguments; the state of one is not in another."""
    code = """
import gc, os, sys
seen = getattr(sys, "left_by_another", "nothing")
sys.left_by_another = "something"
print(os.getpid() == os.getpgrp(), os.getcwd(), os.environ["PATIENT_VISITS_RUN"], seen, gc.isenabled())
"""
    with forked(template, tmp_path) as first, forked(template, tmp_path) as second:
        assert {answer(each, code) for each in (first, second)} == {f"True {tmp_path} run-1 nothing True"}
        assert first.pid and second.pid and parent_of(first.pid) == parent_of(second.pid) != os.getpid()


def test_a_fork_can_be_stopped_before_it_did_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its group: what it may have started ends with it."""
    monkeypatch.setattr(template_start, "_become_kernel", lambda *_: time.sleep(600))
    pid = template_start._fork({}, [0], socket.socket())
    try:
        os.killpg(pid, signal.SIGTERM)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_the_template_has_one_thread_and_no_file(tmp_path: Path, template: Template) -> None:
    with forked(template, tmp_path) as kernel:
        assert kernel.pid is not None
        process = Path(f"/proc/{parent_of(kernel.pid)}")
        assert len([*(process / "task").iterdir()]) == 1
        files = [str(each.readlink()) for each in (process / "fd").iterdir()]
    assert sorted(each.split(":")[0] for each in files) == ["/dev/null", "/dev/null", "/dev/null", "socket"]


def test_a_kept_template_has_one_thread_too(tmp_path: Path) -> None:
    with Template(kept=True) as template, forked(template, tmp_path) as kernel:
        there = "{'great_expectations', 'lib.report_stage', 'pygments.lexers.python'} <= set(sys.modules)"
        assert answer(kernel, f"import sys; print({there})") == "True"
        assert kernel.pid is not None
        assert len([*Path(f"/proc/{parent_of(kernel.pid)}/task").iterdir()]) == 1


def test_no_notebook_imports_what_the_template_has_not(tmp_path: Path, template: Template) -> None:
    for name in NOTEBOOKS:
        cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
        imports = next(cell.source for cell in cells if cell.cell_type == "code" and "from lib" in cell.source)
        code = (
            f"import sys; before = set(sys.modules); sys.path.insert(0, {str(ROOT)!r})\n{imports}\n"
            "print(sorted(set(sys.modules) - before))"
        )
        with forked(template, tmp_path) as kernel:
            assert answer(kernel, code) == "[]", name


def test_what_takes_long_is_called_before_the_kernel_listens(tmp_path: Path, template: Template) -> None:
    with Kernel("run-1", tmp_path, tmp_path / "run.log", template, LONG_IMPORTS["03_validate"]) as kernel:
        assert answer(kernel, "import sys; print('great_expectations' in sys.modules)") == "True"


def test_a_kernel_has_no_matplotlib(tmp_path: Path, template: Template) -> None:
    with forked(template, tmp_path) as kernel:
        assert answer(kernel, "import sys; print('matplotlib' in sys.modules)") == "False"


@pytest.mark.parametrize("draws", [False, True])
def test_who_was_called_ends_with_its_socket_and_leaves_nothing(draws: bool) -> None:
    with Template() as template:
        wait_for(lambda: forks_of(template._process.pid))
        (drawing,) = forks_of(template._process.pid)
        place = drawing if draws else template._process.pid
        first = template.call("lib.drawing", "serve", draws=draws)
        wait_for(lambda: forks_of(place) - {drawing})
        (called,) = forks_of(place) - {drawing}
        first.close()
        wait_for(lambda: not alive(called), 5)
        with template.call("lib.drawing", "serve", draws=draws):  # who is asked again has a look at it
            wait_for(lambda: called not in forks_of(place), 5)


def forks_of(pid: int) -> set[int]:
    """Those that ended and were not waited for among them."""
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_how_a_fork_ended_is_told(tmp_path: Path, template: Template) -> None:
    with forked(template, tmp_path) as kernel:
        assert kernel.exit_code is None and kernel.pid is not None
        os.kill(kernel.pid, signal.SIGKILL)
        wait_for(lambda: kernel.exit_code == -9, 5)


def test_what_a_fork_writes_goes_to_its_log(tmp_path: Path, template: Template) -> None:
    with forked(template, tmp_path) as kernel:
        answer(kernel, "import os; os.write(2, b'disk error\\n')")
        wait_for(lambda: "disk error" in (tmp_path / "run.log").read_text(), 5)


def test_forks_die_with_their_template_and_kernels_start_without_it(tmp_path: Path) -> None:
    with Template() as template, forked(template, tmp_path) as kernel:
        assert kernel.pid is not None
        pid = kernel.pid
        os.kill(parent_of(pid), signal.SIGKILL)
        wait_for(lambda: not alive(pid), 5)
        assert kernel.exit_code == -9
        with forked(template, tmp_path) as fresh:
            assert fresh.pid is not None and parent_of(fresh.pid) == os.getpid()
            assert answer(fresh, "print('ready')") == "ready"


@pytest.mark.parametrize("moment", ["importing", "forked"])
def test_nothing_outlives_a_killed_parent(tmp_path: Path, moment: str) -> None:
    script = f"""
import sys, time
from pathlib import Path
from lib.kernels import Kernel
from lib.template import Template
template = Template()
kernel = Kernel("run-1", Path({str(tmp_path)!r}), Path({str(tmp_path / "run.log")!r}), template)
if {moment == "forked"}:
    kernel.start()
print([template._process.pid] + ([kernel.pid] if {moment == "forked"} else []), flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    processes = json.loads(parent.stdout.readline())
    assert all(map(alive, processes))
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(map(alive, processes)), 3)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another(tmp_path: Path, template: Template) -> None:
    """As an interrupt leaves it: a request was sent, its answer never read."""
    template._asked += 1
    template._control.send(json.dumps({"number": template._asked, "ended": os.getpid()}).encode())
    with forked(template, tmp_path) as kernel:
        assert answer(kernel, "print('ready')") == "ready"
