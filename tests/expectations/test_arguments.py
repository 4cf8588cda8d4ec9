"""Arguments of expectations: read once each, the same as the library itself would read them."""

from __future__ import annotations

import json
import subprocess
import sys

from lib.config import ROOT
from lib.suites import SUITES

TELL = """
import json, sys
from pathlib import Path
{prepare}
import great_expectations as gx
told = {{}}
for name in {suites!r}:
    context = gx.get_context(mode="ephemeral")
    suite = context.suites.add(gx.ExpectationSuite(**json.loads(Path("expectations", f"{{name}}.json").read_text())))
    told[name] = [
        [each.expectation_type, each._get_domain_kwargs(), each._get_success_kwargs(), each._get_runtime_kwargs()]
        for each in suite.expectations
    ]
print(json.dumps(told, default=str))
from great_expectations.expectations.expectation import Expectation
print(Expectation._get_success_kwargs.__module__)
"""


def told(prepare: str) -> tuple[dict[str, list[list[object]]], str]:
    """The arguments of every expectation, in a process of its own, and whose code read them."""
    script = TELL.format(prepare=prepare, suites=SUITES)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    arguments, module = done.stdout.splitlines()[-2:]
    return json.loads(arguments), module


def test_every_expectation_has_the_arguments_that_the_library_reads() -> None:
    ours, our_module = told("from lib.gate_library import import_library; import_library()")
    library, library_module = told("import os; os.environ['GX_ANALYTICS_ENABLED'] = 'false'")
    assert (our_module, library_module) == ("lib.gate_library", "great_expectations.expectations.expectation")
    assert ours == library
    assert all(len(each) >= 5 for each in ours.values())
