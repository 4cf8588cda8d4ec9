"""Packages that are not imported: deferred until a name is asked for, left out while a block lasts."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from lib.config import ROOT
from lib.deferred import defer, hollow, left_out


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that is imported nowhere yet, with one submodule."""
    name = f"package_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("value = 1\n")
    (folder / "part.py").write_text("value = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def is_loaded(name: str) -> bool:
    return getattr(sys.modules[name], "__file__", None) is not None


def test_a_deferred_package_is_imported_when_a_name_is_asked_for(package: str) -> None:
    defer(package)
    module = importlib.import_module(package)
    assert not is_loaded(package)
    assert module.value == 1 and is_loaded(package)


def test_a_deferred_package_is_imported_for_its_submodule(package: str) -> None:
    defer(package)
    assert importlib.import_module(f"{package}.part").value == 2
    assert is_loaded(package)


def test_a_package_that_is_left_out_is_as_if_not_installed_and_then_is_there_again(package: str) -> None:
    with left_out(package), pytest.raises(ImportError):
        importlib.import_module(package)
    assert importlib.import_module(package).value == 1
    with left_out(package):
        assert importlib.import_module(package).value == 1, "what is imported already stays"


def test_a_hollow_module_has_every_name_and_then_is_the_module_again(package: str) -> None:
    part = f"{package}.part"
    with hollow(part):
        stand_in = importlib.import_module(part)
        assert isinstance(stand_in.anything, type) and stand_in.anything is not stand_in.value
        assert not hasattr(stand_in, "__file__")
    assert importlib.import_module(part).value == 2
    with hollow(part):
        assert importlib.import_module(part).value == 2, "what is imported already stays"


def test_the_command_and_the_gate_import_no_more_than_they_need() -> None:
    script = """
import sys
from lib.deferred import imports_of_the_command
with imports_of_the_command():
    import lib.pipeline, lib.terminal
assert not {"pandas", "numpy", "pyarrow"} & set(sys.modules), "the command"
from lib.gate_library import import_library
import_library()
assert not {"sqlalchemy", "ipywidgets", "isoduration", "urllib3"} & set(sys.modules), "the gate"
import great_expectations as gx
from great_expectations.expectations.registry import list_registered_expectation_implementations as registered
assert "expect_column_kl_divergence_to_be_less_than" not in registered(), "what no suite has"
assert gx.get_context(mode="ephemeral").data_sources.add_spark and gx.ExpectationSuite
from great_expectations.expectations.core.expect_column_max_to_be_between import ExpectColumnMaxToBeBetween
assert "expect_column_max_to_be_between" in registered(), "what is asked for by its module is there"
import sqlalchemy, requests.adapters
assert sqlalchemy.create_engine and requests.Session and requests.adapters.HTTPAdapter
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_is_made_without_what_nbconvert_has_for_other_things() -> None:
    script = """
import sys
import lib.report_stage
from lib.deferred import NOT_FOR_THE_PAGE
assert not {"charset_normalizer", "isoduration", "html5lib", "nbclient", *NOT_FOR_THE_PAGE} & set(sys.modules)
assert getattr(sys.modules["soupsieve"], "__file__", None) is None
import soupsieve, nbconvert.postprocessors.serve, nbconvert.preprocessors.execute
assert soupsieve.compile("p") and nbconvert.postprocessors.serve.ServePostProcessor.__mro__[1] is not object
assert nbconvert.preprocessors.execute.ExecutePreprocessor.__mro__[1] is not object
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_pictures_are_the_same_by_a_matplotlib_that_is_imported_in_less_time() -> None:
    script = """
import hashlib, sys
from contextlib import nullcontext
from lib.deferred import imports_of_the_pictures
with {how}():
    import matplotlib.backends.backend_agg, lib.plots
print(any(name.startswith("mpl_toolkits") for name in sys.modules), bool(matplotlib.patches.Patch.set.__doc__))
import pandas as pd
top = pd.DataFrame({{"code": ["A", "B"], "visits": [30, 12], "categories": [1, 1]}})
print(hashlib.sha256(lib.plots.png(lib.plots.plot_top_categories(top))).hexdigest())
import mpl_toolkits.mplot3d, matplotlib.artist
assert "alpha" in matplotlib.artist.kwdoc(mpl_toolkits.mplot3d.Axes3D)
"""
    told = []
    for how in ("imports_of_the_pictures", "nullcontext"):
        words = [sys.executable, "-c", script.format(how=how)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        told.append(done.stdout.splitlines())
    (short, picture), (whole, same_picture) = told
    assert (short, whole) == ("False True", "True True")
    assert picture == same_picture
