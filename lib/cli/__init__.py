"""The command line, a thin layer: options, exit codes, one line for everything that goes wrong."""

from lib.cli.app import app
from lib.cli.main import main

__all__ = ["app", "main"]
