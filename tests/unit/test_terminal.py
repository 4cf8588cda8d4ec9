from __future__ import annotations

import subprocess
import sys

from lib.config import ROOT

PRINTS_MUCH = """
from lib.terminal import consoles
out, errors = consoles()
for _ in range(2000):
    out.print("a line")
errors.print("went on")
"""


def test_a_reader_that_goes_away_stops_nothing() -> None:
    """As in `run | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-c", PRINTS_MUCH], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        assert done.stdout is not None and done.stderr is not None
        done.stdout.readline()
        done.stdout.close()
        told = done.stderr.read().decode()
    assert (done.returncode, told) == (0, "went on\n")
