"""Packages that a library imports for what is never used here: imported only if something asks them for a name."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in `sys.modules` for a module until a name of it is asked for. (The standard library's LazyLoader does not
    last: a second `import` of the module already loads it.)"""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def defer(*modules: str) -> None:
    """Put off the import of each module, unless it is imported already."""
    for name in modules:
        sys.modules.setdefault(name, _Deferred(name))
