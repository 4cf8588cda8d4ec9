"""Every planted fault is found by its history, which is green without it. The random histories: `mutants.py`."""

from __future__ import annotations

import pytest

from tests.pipeline.beside import check_history
from tests.pipeline.mutants import MUTANTS, Mutant, planted


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_turns_its_history_red(mutant: Mutant) -> None:
    check_history(mutant.source, mutant.history)
    with planted(mutant), pytest.raises(AssertionError, match="differs: the pipeline has"):
        check_history(mutant.source, mutant.history)
    check_history(mutant.source, mutant.history)
