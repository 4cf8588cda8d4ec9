"""What keeps values of patients where they belong, where no other test says so. Named by the case."""

from __future__ import annotations

import ast
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lib.errors import PipelineError
from lib.run import PARAMETERS, Run
from lib.safe_html import clean_html
from lib.sql import identifier, literal
from tests.histories import BASE, Deliver, Dies
from tests.histories import Run as Step
from tests.pipeline.beside import new_pair
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.pipeline.mutants import visit

CANARY = "Canary-4711"
ROW_LEVEL = ("raw", "staging", "warehouse.db")
"""The only places that hold rows."""


@pytest.mark.parametrize("at", ["taken", "staged", "commit", "committed"])
def test_privacy_1_a_run_that_dies_leaves_a_patient_nowhere_else_and_all_of_it_private(at: str) -> None:
    rows = visit(CANARY, patient_id=CANARY), visit("v2", diagnosis_code=CANARY), visit("v3", visit_cost=CANARY)
    with new_pair() as pair:
        history = [Deliver("1.csv", rows), Step(BASE, dies=Dies(at, 5))]  # type: ignore[arg-type]
        assert list(pair.play(history)) == []
        files = [path for path in pair.clinic.data_dir.rglob("*") if path.is_file()]
        holding = {
            path.relative_to(pair.clinic.data_dir).parts[0] for path in files if CANARY.encode() in path.read_bytes()
        }
        assert "raw" in holding and holding <= set(ROW_LEVEL)
        assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_privacy_3_a_notebook_is_given_the_declared_parameters_and_nothing_of_the_config(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    result = clinic.run()
    assert result.run is not None
    given = Run.existing(clinic.data_dir).parameters
    assert {*given, "config_file"} == set(PARAMETERS)
    assert "://" not in json.dumps(given)


@pytest.mark.parametrize(
    "markup",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<td onclick='alert(1)'>x</td>",
        "<style>@import url(http://x)</style>", "<a href='javascript:alert(1)'>x</a>", "<iframe src='http://x'></iframe>",
        "<p style='background:url(http://x)'>x</p>",
    ],
)  # fmt: skip
def test_privacy_4_markup_in_an_output_does_nothing(markup: str) -> None:
    tags: list[tuple[str, list[tuple[str, str | None]]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))  # type: ignore[method-assign]
    parser.feed(clean_html(markup))
    assert {tag for tag, _ in tags} <= {"td", "a", "p"}
    assert [value for _, attributes in tags for _, value in attributes if value] == []


def test_privacy_5_nothing_is_unpickled_evaluated_or_loaded_unsafely() -> None:
    files = [*(ROOT / "lib").rglob("*.py"), ROOT / "run_pipeline.py"]
    found = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if {"pickle", "marshal", "shelve", "dill", "joblib"} & {each.split(".")[0] for each in imported}:
                found.append(f"{path.name}: imports {imported}")
            if called in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle"):
                found.append(f"{path.name}: calls {called}")
    assert len(files) > 40 and found == []


@pytest.mark.parametrize("name", ['x"; DROP TABLE fact_visits; --', "a b", "é", "x;", ""])
def test_privacy_5_a_name_that_is_no_identifier_never_becomes_sql(name: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        identifier(name)
    assert literal("it's") == "'it''s'"


def test_privacy_5_a_run_id_names_no_path_outside(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    for name in ("../..", "../state", str(tmp_path)):
        with pytest.raises(PipelineError, match="run_id"):
            Run.existing(clinic.data_dir, name)
