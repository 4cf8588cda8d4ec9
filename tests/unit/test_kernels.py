"""Kernels: whose interpreter, which environment, and that none is ever left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
import zmq
from nbclient import NotebookClient

from lib import kernels
from lib.kernels import Kernel
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own, short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


PRINT = "from lib.shown import show\nprint = lambda *words: show({'text/plain': ' '.join(map(str, words))})\n"


def answer(kernel: Kernel, code: str) -> str:
    """What one cell prints in a started kernel, whose own prints are withheld."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(PRINT + code)])
    client = NotebookClient(notebook, km=kernel.manager)
    try:
        with client.setup_kernel():
            client.execute_cell(notebook.cells[0], 0)
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
    return "".join(output["data"]["text/plain"] for output in notebook.cells[0].outputs).strip()


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_foreign_kernelspec_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sockets: Path) -> None:
    for folder in (tmp_path / "share/jupyter", tmp_path / ".local/share/jupyter"):
        spec = folder / "kernels/python3"
        spec.mkdir(parents=True)
        broken = {"argv": ["/bin/false", "{connection_file}"], "display_name": "broken", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(broken))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share/jupyter"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / ".local/share/jupyter"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Kernel("run-1", tmp_path, tmp_path / "run.log") as kernel:
        assert answer(kernel, "import sys; print(sys.executable)") == sys.executable


def test_the_users_ipython_is_not_loaded_and_nothing_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sockets: Path
) -> None:
    startup = tmp_path / ".ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("loaded = 'profile'")
    (tmp_path / "pythonstartup.py").write_text("loaded = 'PYTHONSTARTUP'")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "pythonstartup.py"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    code = """
import os, pathlib
sqlite = [*pathlib.Path(os.environ['IPYTHONDIR']).rglob('*.sqlite'), *pathlib.Path.home().rglob('*.sqlite')]
print(globals().get('loaded'), sqlite, os.environ['MPLBACKEND'], os.environ['PATIENT_VISITS_RUN'], pathlib.Path.cwd())
"""
    with Kernel("run-1", tmp_path, tmp_path / "run.log") as kernel:
        printed = answer(kernel, code)
    assert printed == f"None [] module://matplotlib_inline.backend_inline run-1 {tmp_path}"
    assert [path.name for path in (tmp_path / ".ipython/profile_default").iterdir()] == ["startup"]


def test_sockets_are_private_and_removed(tmp_path: Path, sockets: Path) -> None:
    with (
        Kernel("run-1", tmp_path, tmp_path / "run.log") as first,
        Kernel("run-2", tmp_path, tmp_path / "run.log") as second,
    ):
        folders = list(sockets.iterdir())
        assert [stat.S_IMODE(folder.stat().st_mode) & 0o777 for folder in folders] == [0o700, 0o700]
        assert {answer(kernel, f"print({kernel.run_id!r})") for kernel in (first, second)} == {"run-1", "run-2"}
        assert any(path.is_socket() for path in folders[0].iterdir())
    assert list(sockets.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_kernel_listens_on_no_port(tmp_path: Path, sockets: Path) -> None:
    with Kernel("run-1", tmp_path, tmp_path / "run.log") as kernel:
        assert answer(kernel, "print('ready')") == "ready"
        process = Path(f"/proc/{kernel.pid}")
        ours = set[str]()
        for link in (process / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                ours.add(link.readlink().name.removeprefix("socket:[").rstrip("]"))
        lines = [line.split() for name in ("tcp", "tcp6") for line in (process / "net" / name).read_text().splitlines()]
    assert len(ours) > 3
    assert [line for line in lines if line[9] in ours] == [], "neither listening nor connected over TCP"


def test_a_temporary_folder_too_deep_for_sockets_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with Kernel("run-1", tmp_path, tmp_path / "run.log") as kernel:
        assert answer(kernel, "print('ready')") == "ready"


def test_folders_that_killed_processes_left_are_swept_but_held_ones_stay(tmp_path: Path, sockets: Path) -> None:
    left = sockets / "pv-kernel-left"
    left.mkdir()
    (left / "kernel.json").write_text("{}")
    young = sockets / "pv-kernel-young"
    young.mkdir()
    with Kernel("run-1", tmp_path, tmp_path / "run.log"):
        held = next(folder for folder in sockets.iterdir() if folder not in (left, young))
        for folder in (left, held):
            os.utime(folder, (0, 0))
        with Kernel("run-2", tmp_path, tmp_path / "run.log"):
            assert held.exists() and young.exists() and not left.exists()


def test_a_kernel_is_used_once(tmp_path: Path) -> None:
    kernel = Kernel("run-1", tmp_path, tmp_path / "run.log")
    with pytest.raises(RuntimeError):
        _ = kernel.manager
    with kernel:
        answer(kernel, "x = 1")
        with pytest.raises(RuntimeError):
            _ = kernel.manager
    kernel.stop()


def test_a_kernel_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_GRACE_SECONDS", 0.5)
    kernel = Kernel("run-1", tmp_path, tmp_path / "run.log")
    kernel.start()
    pid = kernel.pid
    assert pid is not None
    manager = kernel.manager
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute(
        "import os, signal, time\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(__import__('subprocess').Popen(['sleep', '600']).pid))\n"
        "while True:\n  try: time.sleep(600)\n  except BaseException: pass"
    )
    wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "", 20)
    began = time.monotonic()
    kernel.stop(interrupt=True)
    client.stop_channels()
    assert time.monotonic() - began < 5
    wait_for(lambda: not alive(pid) and not alive(int((tmp_path / "child").read_text())), 2)


@pytest.mark.parametrize("moment", ["starting", "running a cell that holds the interpreter"])
def test_no_kernel_outlives_a_killed_parent(tmp_path: Path, moment: str) -> None:
    script = f"""
import sys, time
from pathlib import Path
from lib.kernels import Kernel
kernel = Kernel("run-1", Path({str(tmp_path)!r}), Path({str(tmp_path / "run.log")!r}))
kernel.start()
if {moment != "starting"}:
    client = kernel.manager.blocking_client(); client.start_channels(); client.wait_for_ready(timeout=60)
    client.execute("import ctypes; print('x', flush=True); ctypes.PyDLL(None).sleep(600)")
    time.sleep(1)
print(kernel.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(pid), 3)


def test_a_kernel_started_in_a_thread_outlives_the_thread(tmp_path: Path, sockets: Path) -> None:
    kernel = Kernel("run-1", tmp_path, tmp_path / "run.log")

    def start() -> None:
        kernel.start()
        wait_for(lambda: any(path.is_socket() for path in sockets.rglob("k-*")), 60)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    try:
        assert answer(kernel, "print('ready')") == "ready"
    finally:
        kernel.stop()


def test_a_kernel_that_dies_tells_how(tmp_path: Path) -> None:
    with Kernel("run-1", tmp_path, tmp_path / "run.log") as kernel:
        assert kernel.exit_code is None and kernel.pid is not None
        os.kill(kernel.pid, signal.SIGKILL)
        wait_for(lambda: kernel.exit_code == -9, 5)


def test_a_socket_that_was_never_closed_keeps_no_client_waiting(tmp_path: Path) -> None:
    """As an interrupt leaves one: made in the client's context, unknown to whoever would close it."""
    with Kernel("run-1", tmp_path, tmp_path / "run.log") as kernel:
        client = kernel.manager.client()
        left_open = zmq.Context.shadow(client.context.underlying).socket(zmq.DEALER)

        async def stop() -> None:
            client.stop_channels()

        stopping = threading.Thread(target=asyncio.run, args=[stop()], daemon=True)
        stopping.start()
        stopping.join(5)
        waits = stopping.is_alive()
        left_open.close(linger=0)
    assert not waits
