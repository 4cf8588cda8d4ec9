"""Run the command in sys.argv and end with its exit code.

Heavy modules are imported by the command that needs them, so that --help and status answer at once.
"""

from __future__ import annotations

import os
import signal
import sys

import typer

from lib.cli import run  # noqa: F401 (each adds its commands; --help lists them in this order)

# isort: split
from lib.cli import watch  # noqa: F401

# isort: split
from lib.cli import check, decide, keep, look  # noqa: F401
from lib.cli.app import app
from lib.cli.options import from_here
from lib.errors import PipelineError


def main() -> None:
    """Run the command in sys.argv; end with its exit code, never with a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as run_pipeline.py leaves it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    words = sys.argv[1:]
    if not words or (words[0].startswith("-") and words[0] not in ("--help", "-h")):
        words = ["run", *words]
    os.umask(0o077)
    try:
        code = _run(words)
        if sys.stdout:  # a command may be started without one
            sys.stdout.flush()
    except PipelineError as error:
        code = _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        see = "See" if message.endswith("?") else "see"
        code = _fail(f"{message}{'' if see == 'See' else ';'} {see} python run_pipeline.py --help.", error.exit_code)
    except KeyboardInterrupt as interrupt:
        code = _fail("interrupted: nothing was loaded.", 143 if type(interrupt).__name__ == "Terminated" else 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        code = _unexpected(error, words)
    sys.exit(code)


def _run(words: list[str]) -> int:
    try:
        return app(args=words, prog_name="run_pipeline.py", standalone_mode=False) or 0
    except typer.Exit as ended:
        return ended.exit_code


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _unexpected(error: Exception, words: list[str]) -> int:
    """One line on the terminal; the traceback, which may hold values, in a private log."""
    from lib.confidential import log_exception
    from lib.errors import as_ours
    from lib.store.place import log_folder

    data_dir = words[words.index("--data-dir") + 1] if "--data-dir" in words[:-1] else "data"
    log = log_folder(from_here(data_dir)) / "unexpected.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log_exception(log, error, " ".join(words[:1]))
        where = f"details in {log}"
    except OSError:
        where = "its details could not be written"
    ours = as_ours(error)
    if isinstance(ours, PipelineError):
        return _fail(str(ours), ours.exit_code)
    return _fail(f"unexpected failure ({type(error).__name__}); {where}.", 1)
