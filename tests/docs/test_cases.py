"""The known ways in which pipelines of this kind go wrong, and the tests that name each: a lost one is noticed.

A test is `file::function`, with `[case]` where one parameter of it is meant: a text or a name that stands in the file.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FILES, HISTORY, FAULTS = "pipeline/test_files_and_values.py", "pipeline/test_history.py", "faults/test_faults.py"
DELIVERIES, COMMAND, PRIVACY = "pipeline/test_deliveries.py", "pipeline/test_command.py", "pipeline/test_privacy.py"
CANARIES, MASKING, CONFIDENTIAL = (
    "privacy/test_canaries.py", "privacy/test_masking.py", "unit/test_confidential.py"
)  # fmt: skip
WHOLE, GOOD, VALUE = (
    f"{FILES}::test_{name}"
    for name in ("delivery_is_refused_whole", "loaded_as_it_is", "value_is_refused_with_its_reason")
)
MALFORMED = f"{FILES}::test_malformed_row_is_kept_as_its_physical_text"

WATERMARK_AND_HISTORY = {
    1: "a stamp in the future",
    2: "rows exactly at the cutoff and at the watermark",
    3: "microseconds, never rounded up",
    4: "an empty run; facts gone while a watermark stands",
    5: "later than the lookback",
    6: "a week of outage",
    7: "one instant in several spellings; clock changes",
    8: "the machine's clock set back",
    9: "instants, not text",
    10: "checks that pass on nothing",
    11: "increments compared with full loads",
    12: "older after newer; equal stamps; shuffled rows",
    13: "moved to another day",
    14: "a failed gate",
    15: "refused, then corrected",
    16: "a newer version refused",
    17: "a crash between commit and record",
    18: "the same again, together or apart, A B A",
    19: "missing from a full delivery",
    20: "a broken state file",
    21: "a warehouse that is gone",
    22: "a column renamed, gone or added",
    23: "each delivery keeps its clock",
    24: "refused before and delivered again",
    25: "a full extract with few rows in the window; old rows only",
    26: "two sources with the same ids",
}
"""Number → what it is about. Its tests are named test_NN_… in test_history.py."""

FILES_AND_VALUES = {
    "byte order mark, line ends, blank lines, quotes": [
        f"{GOOD}[{case}]"
        for case in (
            "UTF-8 BOM", "CRLF", "CR", "mixed line ends", "no final newline", "blank lines", "quoted comma",
            "quoted quote", "quoted newline in a column that is not read",
        )
    ],
    "another encoding": [f"{WHOLE}[{case}]" for case in ("UTF-16", "latin-1", "invalid UTF-8")],
    "characters that do not show": [f"{VALUE}[NUL, control, zero-width and bidi characters in an id]"],
    "an open quote; a newline in an id": [
        f"{WHOLE}[unclosed quote to the end of the file]", f"{FILES}::test_newline_inside_an_id",
    ],
    "rows of another shape": [
        f"{MALFORMED}[short row]", f"{MALFORMED}[long row]", f"{MALFORMED}[text after a closing quote]",
        f"{FILES}::test_header_repeated_inside_the_data",
    ],
    "a header that does not fit": [
        f"{WHOLE}[{case}]"
        for case in ("wrong delimiter", "no header", "missing column", "duplicated column", "ambiguous column")
    ],
    "a header in other letters": [f"{GOOD}[header in another case, with spaces]"],
    "an extra column": [f"{FILES}::test_extra_column_is_drift_once"],
    "a header and nothing else": [f"{FILES}::test_header_only_is_a_zero_row_load"],
    "no byte": [f"{FILES}::test_what_is_no_file_is_not_even_taken[empty]", f"{WHOLE}[gzip of nothing]"],
    "rows with a hash sign in front": [f"{GOOD}[rows that begin with #]"],
    "costs in other notations, negative costs": [
        f"{VALUE}[numbers that are no plain decimal]", f"{VALUE}[costs out of range]", f"{FILES}::test_as_configured",
    ],
    "dates and stamps in other notations": [
        f"{VALUE}[dates in a format that is not declared]", f"{VALUE}[stamps in a format that is not declared]",
        f"{FILES}::test_declared_format",
    ],
    "days and times that there are not": [f"{VALUE}[dates that are not real]", "unit/test_judging.py::test_stamp"],
    "years at the ends of time": [f"{VALUE}[dates out of range]"],
    "ids that look like something else": [f"{FILES}::test_ids_are_verbatim_after_trimming"],
    "a field too long": [
        f"{MALFORMED}[field over 1 MiB]", "unit/sources/test_csv.py::test_field_of_exactly_1_mib_is_a_value",
    ],
    "formulas, SQL, markup": [f"{FILES}::test_formulas_sql_and_markup_are_texts"],
    "packed files": [
        f"{GOOD}[gzip by its magic bytes]", f"{WHOLE}[truncated gzip]", f"{WHOLE}[gzip with trailing garbage]",
    ],
    "what is no plain file": [
        f"{FILES}::test_directory_given_as_file", f"{FILES}::test_unreadable_file",
        *(f"{FILES}::test_what_is_no_file_is_not_even_taken[{case}]" for case in ("fifo", "device", "broken_link")),
        "unit/test_raw.py::test_refused_within_a_second",
    ],
    "a file that changes while it is read": [
        "unit/test_raw.py::test_a_file_that_changes_once_is_read_again",
        f"{DELIVERIES}::test_a_file_that_changes_while_it_is_read_is_refused_and_nothing_is_kept",
    ],
}  # fmt: skip

FAULT_ROWS = {
    "killed at any instant": [
        f"{FAULTS}::test_a_kill_at_a_commit_step_leaves_old_tables_or_new[before COMMIT]",
        f"{FAULTS}::test_errors_and_kills_at_the_nth_file_call_leave_old_tables_or_new[SIGKILL]",
    ],
    "interrupted or terminated": [f"{COMMAND}::test_an_interrupt_rolls_back_and_leaves_no_kernel"],
    "a dead kernel": [
        "unit/test_execute.py::test_a_dead_kernel_is_a_failure_and_its_cells_are_stamped_truthfully",
        "unit/test_kernels.py::test_a_kernel_that_dies_tells_how",
    ],
    "disk full, write error": [
        f"{FAULTS}::test_a_file_that_may_not_grow_is_a_temporary_failure",
        f"{FAULTS}::test_errors_and_kills_at_the_nth_file_call_leave_old_tables_or_new[disk full once]",
        "unit/test_execute.py::test_a_full_disk_is_a_temporary_failure",
    ],
    "somebody's own kernelspec": ["unit/test_kernels.py::test_a_foreign_kernelspec_is_not_used"],
    "a folder that cannot be written": [
        "unit/test_layout.py::test_a_folder_that_cannot_be_written_is_found_before_any_work"
    ],
    "two runs at once": [f"{COMMAND}::test_two_at_once_one_wins_the_other_names_it"],
    "a kernel that outlives its parent": [
        f"{FAULTS}::test_an_orphan_that_loads_after_a_newer_run_is_fenced",
        "unit/test_kernels.py::test_no_kernel_outlives_a_killed_parent",
    ],
    "a warehouse that is none, or locked": [
        "unit/test_warehouse.py::test_garbage_is_no_warehouse_and_stays_as_it_is",
        "unit/test_warehouse.py::test_a_warehouse_that_another_program_locks_is_waited_for_a_while",
    ],
    "a snapshot that changed": [
        f"{DELIVERIES}::test_a_pending_snapshot_that_changed_stops_the_run_before_any_load",
        f"{DELIVERIES}::test_a_loaded_snapshot_that_changed_is_told_when_it_is_read_again",
    ],
    "temporary files left": [f"{FAULTS}::test_a_spoiled_file_stops_the_run_or_is_passed_over[temporary files left]"],
}

PRIVACY_LINES = {
    1: [
        "notebooks/test_alone.py::test_nothing_planted_is_shown",
        f"{CANARIES}::test_every_input_case_in_a_passing_run_and_a_held_one_of_the_real_command",
        f"{CANARIES}::test_a_refused_or_held_delivery",
        f"{CANARIES}::test_a_run_that_fails_in_a_library_which_quotes_the_value",
        f"{CANARIES}::test_every_command_on_it",
        f"{CANARIES}::test_broken_files_tell_nothing_of_their_patients",
        f"{FAULTS}::test_a_kill_at_a_commit_step_leaves_old_tables_or_new[before COMMIT]",
        f"{CONFIDENTIAL}::test_what_a_cell_shows_by_itself_is_told_by_class_and_shape",
        f"{MASKING}::test_without_this_place_a_patient_is_shown",
        f"{MASKING}::test_without_this_place_a_kernel_tells_of_a_patient",
        "unit/test_lab.py::test_anything_else_is_not",
        "notebooks/test_jupyterlab.py::test_rows_are_on_the_screen_of_make_lab_and_in_no_file",
        f"{COMMAND}::test_no_patient_in_any_record_or_log",
        f"{COMMAND}::test_records_state_and_modes_are_private",
        f"{PRIVACY}::test_privacy_1_a_run_that_dies_leaves_a_patient_nowhere_else_and_all_of_it_private",
        "expectations/test_gate.py::test_no_value_of_a_visit_leaves_the_gate",
    ],
    2: [
        f"{CONFIDENTIAL}::test_a_failure_in_a_run",
        f"{CONFIDENTIAL}::test_what_goes_to_stderr_goes_to_the_log_without_its_values",
        "unit/test_warehouse.py::test_an_error_s_text_is_never_told",
        "expectations/test_gate.py::test_no_value_is_in_an_exception",
    ],
    3: [
        "notebooks/test_alone.py::test_an_undeclared_parameter_is_an_error",
        f"{PRIVACY}::test_privacy_3_a_notebook_is_given_the_declared_parameters_and_nothing_of_the_config",
    ],
    4: [
        "notebooks/test_alone.py::test_markup_in_a_file_name_is_inert",
        f"{PRIVACY}::test_privacy_4_markup_in_an_output_does_nothing",
    ],
    5: [
        f"{PRIVACY}::test_privacy_5_nothing_is_unpickled_evaluated_or_loaded_unsafely",
        f"{PRIVACY}::test_privacy_5_a_name_that_is_no_identifier_never_becomes_sql",
        f"{PRIVACY}::test_privacy_5_a_run_id_names_no_path_outside",
        "unit/test_config.py::test_refused[carried name that is SQL]",
    ],
}
ROWS = {**FILES_AND_VALUES, **FAULT_ROWS, **{f"privacy {number}": tests for number, tests in PRIVACY_LINES.items()}}


@cache
def words_of(file: str) -> tuple[set[str], set[str]]:
    """The functions of a test file; and its texts and names, which may be cases of parameters."""
    nodes = list(ast.walk(ast.parse((TESTS / file).read_text())))
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    listed = {part for text in texts for part in text.split(",")}
    return functions, texts | names | listed


@pytest.mark.parametrize("number", WATERMARK_AND_HISTORY)
def test_each_case_of_history_has_a_test_of_its_number(number: int) -> None:
    functions, _ = words_of(HISTORY)
    assert [name for name in functions if name.startswith(f"test_{number:02}_")]


def test_no_test_has_the_number_of_no_case() -> None:
    functions, _ = words_of(HISTORY)
    numbers = {int(found[1]) for name in functions if (found := re.match(r"test_(\d+)_", name))}
    assert numbers == set(WATERMARK_AND_HISTORY)


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_its_tests(row: str) -> None:
    assert ROWS[row]
    for test in ROWS[row]:
        found = re.fullmatch(r"(?P<file>[\w/]+\.py)::(?P<function>\w+)(\[(?P<case>.+)\])?", test)
        assert found, test
        functions, words = words_of(found["file"])
        assert found["function"] in functions, f"{row}: {test} is gone"
        assert found["case"] is None or found["case"] in words, f"{row}: {test} has lost its case"
