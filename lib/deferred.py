"""Packages that a library imports for what is never used here: left out, or imported when something asks them for a
name. Half of what a run would import is such."""

from __future__ import annotations

import gc
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

FORMATS_OF_TEXT = ("fqdn", "isoduration", "rfc3986_validator", "uri_template", "webcolors")
"""By these jsonschema tells whether a text is an address, a duration or a colour; no schema here asks."""

NOT_FOR_THE_PAGE = (
    "bleach",
    "nbclient.exceptions",
    "nbconvert.postprocessors.serve",
    "nbconvert.preprocessors.execute",
    "nbconvert.preprocessors.sanitize",
)
"""Of nbconvert, and what that imports: of these a page needs only that they have names."""


class _Deferred(ModuleType):
    """Stands in `sys.modules` for a module until a name of it is asked for. (The standard library's LazyLoader does not
    last: a second `import` of the module already loads it.)"""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # that is what the import of a submodule asks for
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def defer(*modules: str) -> None:
    """Put off the import of each module, unless it is imported already."""
    for name in modules:
        sys.modules.setdefault(name, _Deferred(name))


class _Hollow(ModuleType):
    """Stands in `sys.modules` for a module of which only names are wanted: each is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__module__": self.__name__})


@contextmanager
def _replaced(modules: Iterable[str], stand_in: Callable[[str], ModuleType | None]) -> Iterator[None]:
    """While the block lasts, what `stand_in` makes of its name is in each module's place, unless it is imported
    already."""
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update((name, stand_in(name)) for name in absent)  # type: ignore[misc]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


def left_out(*modules: str) -> AbstractContextManager[None]:
    """While the block lasts, each module is as if it were not installed, unless it is imported already: for what
    libraries do without where it is not there."""
    return _replaced(modules, lambda _: None)  # with None there, its import fails


def hollow(*modules: str) -> AbstractContextManager[None]:
    """While the block lasts, each module is there and empty, unless it is imported already: for what libraries import
    by name and then do not use."""
    return _replaced(modules, _Hollow)


@contextmanager
def imports_of_the_command() -> Iterator[None]:
    """While the modules load that run the notebooks: without what papermill has for files on other machines, and
    without a search for garbage, of which there is none."""
    defer("requests")
    gc.disable()
    try:
        with left_out("pyarrow.fs", *FORMATS_OF_TEXT):
            yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def imports_of_the_page() -> Iterator[None]:
    """While nbconvert loads: without its server, what runs notebooks and what it makes markup inert with, and without
    what its reader of markup has for selectors and for bytes of unknown encoding. Two thirds of it are such."""
    defer("soupsieve")
    with left_out("charset_normalizer", *FORMATS_OF_TEXT), hollow(*NOT_FOR_THE_PAGE):
        yield


@contextmanager
def imports_of_the_pictures() -> Iterator[None]:
    """While matplotlib loads: without a list of its arguments in the documentation of each thing that can be drawn,
    which is a quarter of it, and without plots in space."""
    artist: Any = importlib.import_module("matplotlib.artist")
    documented = artist.kwdoc
    artist.kwdoc = lambda _: ""
    try:
        with left_out("mpl_toolkits.mplot3d"), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        artist.kwdoc = documented
