"""Every planted fault is found by its history, which is green without it. The random histories: `mutants.py`."""

from __future__ import annotations

import pytest

from lib.files import read_json
from lib.layout import REPORT
from tests.pipeline.beside import check_history
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.mutants import MUTANTS, Mutant, planted


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_turns_its_history_red(mutant: Mutant) -> None:
    check_history(mutant.source, mutant.history)
    with planted(mutant), pytest.raises(AssertionError, match="differs: the pipeline has"):
        check_history(mutant.source, mutant.history)
    check_history(mutant.source, mutant.history)


@pytest.mark.parametrize("deliveries", [1, 2])
def test_a_visit_that_is_staged_twice_is_counted_over_all_rows_whatever_deliveries_they_are_of(
    deliveries: int, clinic: Clinic
) -> None:
    versions = [row("V1", visit_cost="10"), row("V1", visit_cost="20"), row("V2")]
    for number in range(deliveries):
        clinic.deliver(versions[number::deliveries], f"{number}.csv")
    with planted(Mutant("no version is settled", "staging/visits", "ON c.visit_id = v.visit_id", "ON false", ())):
        result = clinic.run(source=clinic.input.parent)
    assert result.run is not None
    rules = read_json(result.run.record / REPORT)["rules"]
    (batch,) = (each for each in rules if (each["id"], each["scope"]) == ("unique_business_key", "batch"))
    assert (batch["observed"], batch["passed"]) == (1, False)
