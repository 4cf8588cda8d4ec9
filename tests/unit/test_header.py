"""The header: which field holds which column, and what may be said of a header that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from lib.config import CANONICAL, Settings, settings_from
from lib.errors import DeliveryRefused
from lib.header import match_header

NAME = "patient_visits.csv"
HEADER = list(CANONICAL)


def settings(**content: Any) -> Settings:
    return settings_from(content, "config.yaml")


def refusal(header: list[str], **content: Any) -> str:
    with pytest.raises(DeliveryRefused) as caught:
        match_header(header, settings(**content), NAME)
    message = str(caught.value)
    assert message.startswith(f"{NAME}: ") and message.isprintable(), "one line, nothing a terminal acts upon"
    return message


def test_every_wanted_name_has_its_field() -> None:
    assert match_header([*reversed(HEADER), "ward"], settings(), NAME) == {n: 6 - i for i, n in enumerate(HEADER)}


@pytest.mark.parametrize("visit_id", ["VISIT_ID", " visit_id\t", "Visit_Id "])
def test_case_and_surrounding_space_do_not_matter(visit_id: str) -> None:
    assert match_header([visit_id, *HEADER[1:]], settings(), NAME)["visit_id"] == 0


@pytest.mark.parametrize("visit_id", ["visit id", "visit_id\u00a0", "\ufeffvisit_id", "visit_\u0131d"])
def test_other_differences_do(visit_id: str) -> None:
    assert "1 required column is missing (visit_id)" in refusal([visit_id, *HEADER[1:]])


def test_mapped_optional_and_carried_columns() -> None:
    config = settings(columns={"visit_id": "Id", "provider_id": None}, carry={"ward": "Station"})
    header = ["STATION", "ID", "patient_id", "diagnosis_code", "visit_date", "visit_cost", "last_updated"]
    fields = match_header(header, config, NAME)
    assert (fields["visit_id"], fields["ward"], "provider_id" in fields) == (1, 0, False)


def test_missing_required_columns() -> None:
    header = ["Id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost", "STOP"]
    assert refusal(header) == (
        f"{NAME}: 2 required columns are missing (visit_id, last_updated); found Id, STOP. "
        "Map them under 'columns' in the config."
    )


@pytest.mark.parametrize(
    ("content", "gone", "message"),
    [
        ({}, "visit_cost", "1 expected column is missing (visit_cost); found no other column. Map it under 'columns'"),
        ({"carry": {"ward": "Station"}}, "Station", "(Station for ward); found no other column. Map it under 'carry'"),
        ({"columns": {"visit_id": "Id"}}, "Id", "1 required column is missing (Id for visit_id)"),
    ],
)  # fmt: skip
def test_a_configured_column_that_is_gone_is_missing(content: dict[str, Any], gone: str, message: str) -> None:
    header = [theirs for theirs in settings(**content).wanted.values() if theirs != gone]
    assert message in refusal(header, **content)


def test_no_header_shows_nothing_of_the_first_patient() -> None:
    message = refusal(["00123", "P-canary", "DR7", "E11.9", "2025-12-05", "12.50", "2025-12-06"])
    assert "none of the 7 expected columns (visit_id, patient_id," in message
    assert not any(value in message for value in ("00123", "canary", "DR7", "E11", "2025", "12.50"))


@pytest.mark.parametrize(
    ("mark", "called", "configured"),
    [(";", "a semicolon", ","), ("\t", "a tab", ","), ("|", "a bar", ","), (",", "a comma", ";")],
)
def test_wrong_delimiter(mark: str, called: str, configured: str) -> None:
    message = refusal([mark.join(HEADER)], source={"delimiter": configured})
    assert f"one field with {called} in it; the delimiter configured is '{configured}'" in message
    assert "visit_id" not in message


def test_quoted_delimiter_is_no_wrong_delimiter() -> None:
    assert "none of the 7 expected columns" in refusal(["canary, 1"])


def test_wrong_delimiter_and_no_header_shows_nothing() -> None:
    assert "canary" not in refusal(["00123;P-canary;2025-12-05"])


@pytest.mark.parametrize("extra", [["visit_id"], ["note", "note"], [" note", "note"]])
def test_duplicated_column(extra: list[str]) -> None:
    assert f"the header repeats {extra[0].strip()}." in refusal([*HEADER, *extra])


def test_duplicates_are_not_named_when_nothing_expected_is_there() -> None:
    assert "canary" not in refusal(["canary", "canary"])


def test_ambiguous_column() -> None:
    assert "visit_id is ambiguous, the header has visit_id, VISIT_ID." in refusal([*HEADER, "VISIT_ID"])


def test_blank_and_unwanted_names_may_look_alike() -> None:
    assert match_header([*HEADER, "", "", "note", "NOTE"], settings(), NAME)["visit_id"] == 0


def test_two_columns_mapped_to_one_field() -> None:
    message = refusal(HEADER, columns={"patient_id": "VISIT_ID"})
    assert "visit_id, patient_id are all mapped to one column, visit_id." in message


def test_shown_names_are_few_short_and_inert() -> None:
    message = refusal(["visit_id", "\x1b[mred\u202e", "x" * 65, *("n" * i for i in range(1, 41))])
    assert r"found \x1b[mred\u202e, " + "x" * 64 + "…, n, nn, " in message
    assert ", " + "n" * 28 + " and 12 more." in message


def test_a_row_that_ran_into_the_header_is_not_told() -> None:
    """The line end between them is lost: its cells stand among the names, told by their places."""
    row = ["canary", "12.50", "12.50"]
    message = refusal([*HEADER[:-1], f"{HEADER[-1]}00123", *row])
    assert "found column 7, column 8, column 9, column 10. Map it" in message
    assert "found column 7, column 8. Map it" in refusal([*HEADER[:-1], "canary\ncanary", "canary"])
    assert "found column 7, ward. Map it" in refusal([*HEADER[:-1], f"{HEADER[-1]}P-7", "ward"])
    assert "the header repeats column 9. " in refusal([*HEADER, *row])
