"""Great Expectations as the gate needs it: imported without what it has for databases, drawing and files, of which the
gate uses nothing, and with four of its slow ways made short. See expectations/README.md for what was tried of it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lib.config import ROOT
from lib.deferred import FORMATS_OF_TEXT, defer, hollow, left_out
from lib.files import read_json

if TYPE_CHECKING:
    import pandas as pd

_MODELS_OF_READERS = "great_expectations.datasource.fluent.dynamic_pandas"
"""Makes a class for each of pandas' readers, twice: a tenth of the import. The gate gives the library a frame."""

_SOURCES_OF_FRAMES = ("pandas_datasource", "spark_datasource", "invalid_datasource")
_RENDERERS_OF_EXPECTATIONS = ("renderer", "observed_value_renderer")
_METRICS_OF_EXPECTATIONS = ("descriptive_stats",)
_NEVER_ASKED = (
    "great_expectations.core.http",
    "great_expectations.datasource.fluent.fabric",
    "great_expectations.render.view.view",
)
"""For services on the network and for pages."""

_PLAIN = (str, int, bool, type(None))
"""Types of what JSON holds as it is."""


def import_library() -> None:
    """Import it, which takes most of a second: a kernel does it before its notebook is due."""
    # Versions differ in whether they report their use over the network; none may.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    if "great_expectations" not in sys.modules:
        _import_shortened()
    from great_expectations.core import id_dict
    from great_expectations.execution_engine import pandas_execution_engine
    from great_expectations.expectations.expectation import Expectation

    # Two fifths of judging rows would be a fingerprint of the frame, for results that the library keeps.
    pandas_execution_engine.HASH_THRESHOLD = 0

    # It cuts the whole frame where a column is null, and then looks at that column alone.
    engine: Any = pandas_execution_engine.PandasExecutionEngine
    if not hasattr(engine.get_domain_records, "__wrapped__"):
        engine.get_domain_records = _one_column(engine.get_domain_records)

    # The library writes the whole expectation out anew for each of its arguments, which is a third of the gate's time.
    every: Any = Expectation
    every._get_domain_kwargs = lambda each: _arguments(each, each.domain_keys)
    every._get_success_kwargs = lambda each: _arguments(each, (*each.success_keys, *each.domain_keys))
    every._get_runtime_kwargs = _arguments_of_a_run

    # It looks through the arguments of each metric for what JSON does not have.
    ids: Any = id_dict
    if not hasattr(ids.convert_to_json_serializable, "__wrapped__"):
        ids.convert_to_json_serializable = _plain_is_as_it_is(ids.convert_to_json_serializable)


def _import_shortened() -> None:
    from pydantic.v1.fields import FieldInfo, ModelField

    # for one expectation that draws and one kind that no suite here has
    defer("altair", "scipy.stats", "requests", "jsonschema")
    no_models = ModuleType(_MODELS_OF_READERS)
    no_models._generate_pandas_data_asset_models = lambda *_, **__: {}  # type: ignore[attr-defined]
    sys.modules[_MODELS_OF_READERS] = no_models
    logging.getLogger("great_expectations.datasource.fluent.sources").setLevel(logging.ERROR)  # which misses them
    # Each of some hundred classes copies the fields of those above it, deeply: a fifth of the import.
    copied: tuple[Any, ...] = (ModelField, FieldInfo)
    for each in copied:
        each.__deepcopy__ = _copy_slots
    try:
        with left_out("sqlalchemy", "ipywidgets", *FORMATS_OF_TEXT), hollow(*_unused_modules()):
            import great_expectations  # noqa: F401
    finally:
        for each in copied:
            del each.__deepcopy__


def _unused_modules() -> list[str]:
    """The library's modules for other sources than frames, for expectations that no suite has, for pages, and for
    metrics that nobody asks without an expectation: half of the import, as each makes a class with many fields."""
    (folder,) = find_spec("great_expectations").submodule_search_locations  # type: ignore[union-attr, misc]
    sources, expectations = Path(folder, "datasource", "fluent"), Path(folder, "expectations", "core")
    unused = [*_NEVER_ASKED]
    for file in Path(folder, "render", "renderer").glob("*_renderer.py"):
        if file.stem not in _RENDERERS_OF_EXPECTATIONS:
            unused.append(f"great_expectations.render.renderer.{file.stem}")
    for file in Path(folder, "metrics").glob("*/[a-z]*.py"):
        if file.stem not in (file.parent.name, *_METRICS_OF_EXPECTATIONS):  # the one called as its folder is a base
            unused.append(f"great_expectations.metrics.{file.parent.name}.{file.stem}")
    for file in sources.glob("*_datasource.py"):
        if file.stem not in _SOURCES_OF_FRAMES:
            unused.append(f"great_expectations.datasource.fluent.{file.stem}")
    used = _used_expectations()
    for file in expectations.glob("*_*.py") if used else ():
        if file.stem not in (*used, "__init__"):
            unused.append(f"great_expectations.expectations.core.{file.stem}")
    return unused


def _used_expectations() -> set[str]:
    """The types of expectations in the suites; none where a suite cannot be read, which the gate will tell."""
    try:
        suites = [read_json(each) for each in (ROOT / "expectations").glob("*.json")]
        return {each["type"] for suite in suites for each in suite["expectations"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _copy_slots(field: Any, memo: dict[int, Any]) -> Any:
    """What copy.deepcopy makes of an object that has slots, without its way through pickling."""
    memo[id(field)] = made = object.__new__(type(field))
    for name in type(field).__slots__:
        value = getattr(field, name)
        setattr(made, name, value if value is None or isinstance(value, (bool, str)) else deepcopy(value, memo))
    return made


def _one_column(records: Callable[[Any, Any], pd.DataFrame]) -> Callable[[Any, Any], pd.DataFrame]:
    """The library's look at a frame, for an expectation about one column: that column, and the scope where one is. It
    looks some times at each."""

    @wraps(records)
    def narrowed(engine: Any, domain_kwargs: Any) -> pd.DataFrame:
        frame = records(engine, domain_kwargs)
        column = domain_kwargs.get("column")
        if column is None:
            return frame
        looks: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = engine.__dict__.setdefault("_last_looks", {})
        if column not in looks or looks[column][0] is not frame:
            looks[column] = frame, frame[[name for name in frame if name in (column, "scope")]]
        return looks[column][1]

    return narrowed


def _arguments(expectation: Any, names: Iterable[str]) -> dict[str, Any]:
    """Arguments of an expectation, as given or by default."""
    given = expectation.configuration.kwargs
    return {name: given.get(name, expectation._get_default_value(name)) for name in names}


def _arguments_of_a_run(expectation: Any, runtime_configuration: dict[str, Any] | None = None) -> dict[str, Any]:
    """Arguments of an expectation, and how its result is wanted, which a run may say anew."""
    from great_expectations.expectations.expectation_configuration import parse_result_format

    of_itself = (*expectation.success_keys, *expectation.domain_keys)
    given = _arguments(expectation, (*expectation.runtime_keys, *of_itself))
    asked = {name: value for name, value in (runtime_configuration or {}).items() if name in expectation.runtime_keys}
    found = given | asked | {name: given[name] for name in of_itself}
    return found | {"result_format": parse_result_format(found["result_format"])}


def _plain_is_as_it_is(convert: Callable[..., Any]) -> Callable[..., Any]:
    """The library's conversion to what JSON can hold, but for names with texts, whole numbers and nothing."""

    @wraps(convert)
    def converted(data: Any) -> Any:
        plain = type(data) is dict and all(type(name) is str and type(data[name]) in _PLAIN for name in data)
        return data if plain else convert(data)

    return converted
