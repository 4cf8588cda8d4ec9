"""On PYTHONPATH of one run that is looked into, never of one that is timed: notes each import that takes a while.

A line a import that no other import caused: process, script, start, seconds, whether a notebook's cell asked for it,
name. Kernels inherit the environment, and with it this file.
"""

import importlib._bootstrap as bootstrap  # type: ignore[import-not-found]
import json
import os
import sys
import threading
import time

_PATH = os.environ.get("BENCHMARK_IMPORTS")
_SHORTEST_SECONDS = 0.0005
_find_and_load = bootstrap._find_and_load
_state = threading.local()


def _noted(name, *rest):
    if getattr(_state, "is_inside", False):
        return _find_and_load(name, *rest)
    _state.is_inside, began = True, time.time()
    try:
        return _find_and_load(name, *rest)
    finally:
        _state.is_inside, seconds = False, time.time() - began
        if seconds >= _SHORTEST_SECONDS:
            _write([os.getpid(), sys.argv[0] if hasattr(sys, "argv") else "", began, seconds, _in_cell(), name])


def _in_cell():
    frame = sys._getframe()
    while frame is not None:
        if "ipykernel_" in frame.f_code.co_filename or "<ipython" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _write(values):
    line = os.open(_PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(line, (json.dumps(values) + "\n").encode())
    finally:
        os.close(line)


if _PATH:
    bootstrap._find_and_load = _noted
