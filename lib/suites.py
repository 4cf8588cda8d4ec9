"""The Great Expectations suites of `expectations/`: read, given their parameters, run on a frame of pandas or Spark.

Great Expectations 1.24 (its behaviour *tried*, see expectations/README.md) is imported where it is used, by
lib/gate_library.py. Nothing of a result leaves this module but counts, and for frames of counts the scopes that failed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from lib import files
from lib.config import ROOT
from lib.errors import PipelineError
from lib.gate_library import import_library

if TYPE_CHECKING:
    from pyspark.sql import DataFrame as SparkFrame

Severity = Literal["critical", "warning"]
Comparison = Literal["<=", ">=", "=="]

FOLDER = ROOT / "expectations"
SUITES = ("batch_profile", "staged_rows")

COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""For frames of visits. Every other result format carries values of the rows that failed."""

FAILING_SCOPES = {"result_format": "COMPLETE", "unexpected_index_column_names": ["scope"]}
"""For frames of counts and shares only, one row per scope: names the scopes that failed."""


@dataclass(frozen=True)
class Rule:
    """One rule of the gate: one or several expectations under one id."""

    id: str
    suite: str
    severity: Severity
    unit: str
    reasons: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What one expectation found: how many rows failed of how many judged, never which values.

    `column` is the frame's column (None for a rule of the whole frame); `observed` and `threshold` are in `unit`, and
    `observed` is None where each scope has its own. `failing_scopes` is empty unless scopes were asked for.
    """

    rule: str
    severity: Severity
    unit: str
    reason: str
    column: str | None
    observed: float | None
    comparison: Comparison
    threshold: float
    passed: bool
    failing_scopes: frozenset[str]


def read_suite(name: str) -> dict[str, Any]:
    """A suite as reviewed: `{"name", "meta", "expectations": [...]}`. A new copy each time."""
    suite: dict[str, Any] = files.read_json(FOLDER / f"{name}.json")
    return suite


def keep_suites(record: Path) -> None:
    """Keep the suites, byte for byte, in the record of a run that they judge."""
    for name in SUITES:
        with files.whole_file(record / f"{name}.json") as stream:
            stream.write((FOLDER / f"{name}.json").read_bytes())


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule of both suites, in the order of the files."""
    found = []
    for suite in SUITES:
        groups: dict[str, list[dict[str, Any]]] = {}
        for expectation in read_suite(suite)["expectations"]:
            groups.setdefault(expectation["meta"]["rule"], []).append(expectation)
        for rule, group in groups.items():
            first = group[0]
            parameters = dict.fromkeys(name for each in group for name in _parameters_in(each["kwargs"]))
            reasons = tuple(each["notes"] for each in group)
            found.append(Rule(rule, suite, first["severity"], first["meta"]["unit"], reasons, tuple(parameters)))
    return tuple(found)


def suite_parameters(name: str) -> frozenset[str]:
    """The names that a suite leaves open: thresholds of the config, and values of the run."""
    return frozenset(parameter for rule in rules() if rule.suite == name for parameter in rule.parameters)


def run_suite(
    name: str, frame: pd.DataFrame | SparkFrame, parameters: Mapping[str, Any], *, scopes: bool = False
) -> list[Outcome]:
    """Judge a frame by a suite; one outcome per expectation, in the order of the rules.

    `scopes=True` is for frames of counts with a `scope` column only. Raises PipelineError when an expectation cannot be
    evaluated; the library's own message may quote a value and is dropped.
    """
    suite = read_suite(name)
    results = _validate(suite, frame, parameters, FAILING_SCOPES if scopes else COUNTS_ONLY)
    if len(results) != len(suite["expectations"]):
        raise PipelineError(f"expectations/{name}.json: only {len(results)} of its expectations were evaluated.")
    order = [rule.id for rule in rules()]
    return sorted((_outcome(name, each, scopes) for each in results), key=lambda each: order.index(each.rule))


def _validate(
    suite: dict[str, Any],
    frame: pd.DataFrame | SparkFrame,
    parameters: Mapping[str, Any],
    result_format: Mapping[str, Any],
) -> list[Any]:
    import_library()
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    # At each change the library would write its settings out as YAML, for nobody: they end with the context.
    context.variables.save = lambda: None  # type: ignore[method-assign]
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    sources = context.data_sources
    source = sources.add_pandas(suite["name"]) if isinstance(frame, pd.DataFrame) else sources.add_spark(suite["name"])
    asset = source.add_dataframe_asset(suite["name"])
    definition = gx.ValidationDefinition(
        name=suite["name"],
        data=asset.add_batch_definition_whole_dataframe(suite["name"]),
        suite=context.suites.add(gx.ExpectationSuite(**suite)),
    )
    failure = None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This pattern is interpreted as a regular expression")
        try:
            validation = definition.run(
                batch_parameters={"dataframe": frame},
                expectation_parameters=dict(parameters),
                result_format=dict(result_format),
            )
        except Exception as error:
            failure = type(error).__name__
        finally:  # the library keeps its last context, and with it the frame
            context.data_sources.delete(suite["name"])
    if failure:  # raised outside the handler: not even the context keeps the library's message
        raise PipelineError(f"expectations/{suite['name']}.json: could not be evaluated ({failure}).")
    return list(validation.results)


def _outcome(suite: str, result: Any, scopes: bool) -> Outcome:
    config = result.expectation_config
    kwargs, found = config.kwargs, result.result
    rule, unit = config.meta["rule"], config.meta["unit"]
    if "unexpected_count" not in found and "observed_value" not in found:
        raise PipelineError(f"expectations/{suite}.json: rule {rule} could not be evaluated; check the frame's types.")
    observed: float | None
    comparison: Comparison
    if config.type == "expect_table_row_count_to_equal":
        observed, comparison, threshold = found["observed_value"], "==", kwargs["value"]
    elif scopes:
        observed, comparison = None, "<=" if "max_value" in kwargs else ">="
        threshold = kwargs["max_value" if comparison == "<=" else "min_value"]
    elif "mostly" in kwargs:
        judged = found["element_count"] - found["missing_count"]
        observed = 1 - found["unexpected_count"] / judged if judged else None
        comparison, threshold = ">=", kwargs["mostly"]
    else:
        observed, comparison, threshold = found["unexpected_count"], "<=", 0
    return Outcome(
        rule=rule,
        severity="critical" if config.severity == "critical" else "warning",
        unit=unit,
        reason=config.notes,
        column=kwargs.get("column"),
        observed=observed,
        comparison=comparison,
        threshold=threshold,
        passed=bool(result.success),
        failing_scopes=frozenset(row["scope"] for row in found["unexpected_index_list"]) if scopes else frozenset(),
    )


def _parameters_in(kwargs: Mapping[str, Any]) -> Iterator[str]:
    for value in kwargs.values():
        if isinstance(value, dict) and "$PARAMETER" in value:
            yield value["$PARAMETER"]
