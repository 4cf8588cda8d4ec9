"""Which files a notebook's result depends on, told without running it: what it imports, the statements, the suites.

A module counts whole, with everything that it imports at any depth, inside functions too: rather too much than too
little. Statements and suites count where a module names them by a text.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lib.config import ROOT

LOCK = "requirements.lock"
STATEMENTS, SUITES = "lib/sql/", "expectations/"


def used_code(notebook: str, hashed: set[str], root: Path = ROOT) -> set[str]:
    """Those of the `hashed` paths that decide what `notebook` (`02_stage`) does: its own file, modules of lib,
    statements, suites, the lock.

    `hashed` are the paths of lib.provenance.code_hashes, then and now. A statement is used by a module that names it,
    or the beginning of its name (`warehouse/load/` and a step): what is added to such a folder, or taken away, counts
    too, and so does what each kind of warehouse has under that name.
    """
    own = f"notebooks/{notebook}.ipynb"
    modules: dict[str, ast.Module] = {}
    waiting = _modules_named(_notebook_tree(root / own), root)
    while waiting:
        path = waiting.pop()
        if path not in modules:
            modules[path] = _module_tree(root / path)
            waiting |= _modules_named(modules[path], root)
    texts = {text for tree in modules.values() for text in _texts(tree)}
    begun = tuple(STATEMENTS + text for text in texts if "/" in text)
    named = {path for path in hashed if path.startswith(begun)}
    suites = {path for path in hashed if path.startswith(SUITES)} if SUITES.rstrip("/") in texts else set()
    return hashed & {own, LOCK, *modules} | named | suites


@cache
def _module_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _notebook_tree(path: Path) -> ast.Module:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))


def _modules_named(tree: ast.Module, root: Path) -> set[str]:
    """The files of lib behind every `import lib.x`, `from lib import x` and `from lib.x import y`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{each.name}" for each in node.names}
    return {path for name in names if name.split(".")[0] == "lib" for path in _files(name, root)}


def _files(name: str, root: Path) -> Iterator[str]:
    """A module's file and those of the packages around it."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        stem = "/".join(parts[:length])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if (root / path).is_file():
                yield path


def _texts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
