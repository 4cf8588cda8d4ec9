"""The library that makes the n-th file call fail, and the plan by which it does: tests/faults/shim.c, compiled here."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
KINDS = ("", "open", "write", "sync", "rename", "truncate", "unlink", "link", "mkdir", "create")
OPEN, WRITE, SYNC, RENAME, TRUNCATE, UNLINK, LINK, FOLDER, CREATE = range(1, len(KINDS))
NEEDS_ROOM = (CREATE, WRITE, SYNC, RENAME, LINK, FOLDER)
"""What fails on a full disk: an fsync, too, where blocks are given late. Shortening and removing do not."""
ANY = tuple(range(1, len(KINDS)))

_ROOT_BYTES, _TRACED = 512, 65536
_HEAD = struct.Struct("<qqqiiii512s")
_BYTES = _HEAD.size + _TRACED
_ACTIONS = {"fail": 1, "short": 2, "kill": 3, "torn kill": 4}


@dataclass(frozen=True)
class Action:
    """What happens to the n-th call, if it is of one of `kinds`; `sticky`: and to every later one of them."""

    name: str
    does: str
    error: int = 0
    sticky: bool = False
    kinds: tuple[int, ...] = ANY

    @property
    def kills(self) -> bool:
        return "kill" in self.does


ACTIONS = {
    each.name: each
    for each in (
        Action("disk full once", "fail", errno.ENOSPC, kinds=NEEDS_ROOM),
        Action("disk full from then on", "fail", errno.ENOSPC, sticky=True, kinds=NEEDS_ROOM),
        Action("short write then full", "short", errno.ENOSPC, sticky=True, kinds=NEEDS_ROOM),
        Action("quota", "fail", errno.EDQUOT, kinds=NEEDS_ROOM),
        Action("input/output error once", "fail", errno.EIO),
        Action("input/output errors from then on", "fail", errno.EIO, sticky=True),
        Action("SIGKILL", "kill"),
        Action("SIGKILL amid a write", "torn kill", kinds=(WRITE,)),
    )
}


def build(folder: Path) -> Path:
    """Compile the library into `folder`. Raises RuntimeError when there is no compiler or no Linux."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or _install()
    library = folder / "shim.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{SOURCE.name}: {compiler} cannot compile it for this system:\n{done.stderr}")
    return library


def _install() -> str:
    """A compiler from the system's packages, where this may be done."""
    if os.getuid() == 0 and shutil.which("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "gcc", "libc6-dev"]):
            subprocess.run(["apt-get", *words], **quiet)  # type: ignore[call-overload]
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("write errors are injected by a small C library: install a C compiler (gcc, libc6-dev).")
    return compiler


class Plan:
    """The file that the library maps in every process: how many calls there were, and which one is to fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():  # it is never shortened: the library has it mapped
            path.write_bytes(bytes(_BYTES))
        with path.open("r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), _BYTES)

    def set(self, root: Path | None, action: Action | None = None, at: int = 0) -> None:
        """Count from 0 under `root` (None: nothing), and let call number `at` fail (0: none)."""
        mask = sum(1 << kind for kind in action.kinds) if action else 0
        does = (_ACTIONS[action.does], action.error, int(action.sticky)) if action else (0, 0, 0)
        name = os.fsencode(root.resolve()) if root else b""
        assert len(name) < _ROOT_BYTES
        self._map[:_BYTES] = _HEAD.pack(0, at, 0, *does, mask, name) + bytes(_TRACED)

    @property
    def calls(self) -> int:
        """How many calls were counted."""
        return int(_HEAD.unpack_from(self._map)[0])

    @property
    def fired(self) -> int:
        """How many calls failed."""
        return int(_HEAD.unpack_from(self._map)[2])

    def kinds(self) -> list[int]:
        """The kind of every call counted, from the first."""
        return list(self._map[_HEAD.size + 1 : _HEAD.size + 1 + self.calls])
