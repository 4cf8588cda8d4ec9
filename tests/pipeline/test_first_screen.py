"""The first screen of a run: how it ended, over what, by whom, what has changed, and what to mind."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import mistune
import nbformat
import pytest

from lib.config import settings_from
from lib.execute import Execution, Failure
from lib.first_screen import FirstScreen, first_screen
from lib.layout import Layout
from lib.record import Outcome, close_record, repair_records
from lib.run import Run
from lib.stamp import TAG, first_screen_markdown, stamp_notebooks
from lib.warehouse import writing
from tests.pipeline.clinic import Clinic, row

BROKEN = [row("V2", visit_date="never"), row("V3", visit_date="never"), row("V4", visit_date="never"), row("V5")]


def newest(clinic: Clinic) -> FirstScreen:
    layout = Layout.at(clinic.data_dir, None)
    return first_screen(layout, layout.run_ids()[-1])


def begun(clinic: Clinic) -> Run:
    settings = settings_from({"source": {"path": str(clinic.input)}}, "config.yaml")
    return Run.begin(settings, data_dir=clinic.data_dir, as_of="2025-03-02T00:00:00Z")


def test_loaded_says_what_came_in_and_that_the_tables_may_be_used(clinic: Clinic) -> None:
    clinic.deliver([row("V1"), row("V2", patient_id=""), row("V3")])
    assert clinic.run().exit_code == 0
    screen = newest(clinic)
    assert (screen.verdict, screen.next_step, screen.previous) == ("PASSED", None, None)
    assert screen.sentence == "1 delivery loaded: of its visits 2 inserted, 0 updated, 0 unchanged; 1 row refused."
    assert screen.reasons == (("missing_patient_id", 1),)
    assert screen.reconciliation.startswith("3 read = 0 outside the window + 1 refused + 0 superseded + 2 staged")
    days, visits = screen.published
    assert days == "0 days published before changed, 1 day newly published." and visits.startswith(
        "Visits: 2 inserted."
    )
    assert "1 refused row of all runs so far in the quarantine: in no table." in screen.caveats
    facts = dict(screen.facts)
    assert facts["watermark"] == "none → 2025-03-01T12:00:00+00:00" and facts["delivery 1"].startswith("visits.csv, ")
    assert {each.holds for each in screen.rules} == {"yes", "not judged"}


def test_nothing_new_says_so(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    clinic.run()
    clinic.run("2025-03-02T01:00:00Z")
    screen = newest(clinic)
    assert screen.sentence.startswith("Nothing new was delivered") and screen.since == ()
    assert screen.previous == Layout.at(clinic.data_dir, None).run_ids()[0]


def test_held_names_the_rule_what_did_not_happen_and_what_to_do(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    clinic.run()
    clinic.deliver(BROKEN)
    assert clinic.run("2025-03-03T00:00:00Z").exit_code == 4
    screen = newest(clinic)
    assert screen.verdict == "FAILED"
    assert screen.sentence.startswith("The gate stopped the batch: invalid_visit_date_share 75.00 % (limit ≤ 5.00 %)")
    assert screen.next_step is not None and screen.next_step.startswith("Nothing was loaded: tables, metrics and")
    assert "--accept invalid_visit_date_share" in screen.next_step
    before = Layout.at(clinic.data_dir, None).run_ids()[0]
    assert screen.use == f"When it ended, the tables were those of run {before}; they held nothing of this batch."
    assert "(not loaded; would be: 1 inserted" in screen.reconciliation
    assert [each.rule for each in screen.rules if each.holds == "NO"][:2] == [
        "invalid_visit_date_share",
        "refused_share",
    ]
    assert screen.published == ("Nothing that was published has changed.",)


def test_an_override_is_told_with_who_and_why(clinic: Clinic) -> None:
    clinic.deliver(BROKEN)
    clinic.run()
    rules = ("invalid_visit_date_share", "refused_share")
    assert clinic.run("2025-03-03T00:00:00Z", accept=rules).exit_code == 0
    screen = newest(clinic)
    assert screen.verdict == "PASSED BY OVERRIDE"
    assert (
        "let this batch pass invalid_visit_date_share and refused_share: a test. Use the tables only if" in screen.use
    )
    assert dict(screen.facts)["accepted"].endswith(": a test")
    assert [each.rule for each in screen.rules if each.holds == "accepted"] == list(rules)
    assert sum("accepted that." in each for each in screen.caveats) == 2
    assert any(each.startswith("option: accepted: none → invalid_visit_date_share") for each in screen.since)


def test_an_override_is_told_by_later_runs_for_good(clinic: Clinic) -> None:
    clinic.deliver(BROKEN)
    clinic.run()
    clinic.run("2025-03-03T00:00:00Z", accept=("invalid_visit_date_share", "refused_share"))
    overridden = Layout.at(clinic.data_dir, None).run_ids()[-1]
    for day in ("04", "05"):
        clinic.deliver([row(f"V{day}", last_updated=f"2025-03-{day}T00:00:00Z")])
        clinic.run(f"2025-03-{day}T01:00:00Z")
        screen = newest(clinic)
        assert screen.verdict == "PASSED" and screen.use.endswith("bearing in mind what is told below.")
        assert f"Batches that a person let pass earlier are in the tables: run {overridden}." in screen.caveats
        assert not any(each.startswith("option: accepted: none") for each in screen.since)
        assert not any("→ none" in each for each in screen.since)


def test_a_clock_that_was_set_is_told(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    clinic.run()
    assert any(
        each.startswith("The run's clock was set to 2025-03-02T00:00:00+00:00") for each in newest(clinic).caveats
    )


def test_a_changed_threshold_is_told(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    clinic.run()
    clinic.config = {"gate": {"max_refused_share": 0.2}}
    clinic.run("2025-03-02T01:00:00Z")
    assert newest(clinic).since == ("threshold: gate.max_refused_share: 0.05 → 0.2",)


@pytest.mark.parametrize(
    ("outcome", "sentence", "advice"),
    [
        (
            "failed",
            "02_stage failed: ValueError in cell 3 of 02_stage",
            "or go on after 01_extract: python run_pipeline.py --resume",
        ),
        ("interrupted", "02_stage was interrupted: ValueError in cell 3", "Run again"),
        ("killed", "The run died after 01_extract had ended well", "Run again"),
        ("refused", "A delivery was refused as a whole: ValueError in cell 3", "the next run looks at it again"),
    ],
)
def test_a_run_that_did_not_load_says_what_to_do(clinic: Clinic, outcome: Outcome, sentence: str, advice: str) -> None:
    clinic.deliver([row("V1")])
    run = begun(clinic)
    run.manifest.record(finished=["01_extract"])
    message = "ValueError in cell 3 of 02_stage; details in the log"
    executions = [
        Execution("01_extract", 1.0, 12, None),
        Execution("02_stage", 1.0, 2, Failure("ValueError", message, 3, False)),
    ]
    close_record(run.layout, run.run_id, outcome, exit_code=1, message=message, executions=executions)
    screen = newest(clinic)
    assert screen.verdict == "FAILED" and screen.sentence.startswith(sentence)
    assert (
        screen.next_step is not None
        and screen.next_step.startswith("Nothing was loaded")
        and advice in screen.next_step
    )
    assert screen.use == "No run of this source had loaded before: there were no tables to use when it ended."
    assert [how for _, how in screen.notebooks] == ["ended well", "failed", *["not reached"] * 3]
    assert screen.rules == ()


def test_a_run_under_way_is_no_failure(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    begun(clinic)
    assert newest(clinic).verdict == "RUNNING"


def notebook(path: Path) -> Path:
    cells = [nbformat.v4.new_markdown_cell("# 01 · Extract"), nbformat.v4.new_code_cell("1 + 1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_the_record_of_a_killed_run_is_stamped_when_it_is_repaired(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    run = begun(clinic)
    path = notebook(run.record / "01_extract.ipynb")
    with writing(run.layout) as connection:
        assert repair_records(run.layout, connection) == [run.run_id]
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].metadata.tags == [TAG] and cells[0].source.startswith("# FAILED\n")
    assert "closed or completed by a later run" in cells[0].source
    assert [cell.source for cell in cells[1:]] == ["# 01 · Extract", "1 + 1"]


def test_stamping_again_replaces_the_cell_and_changes_nothing_else(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    clinic.run()
    layout = Layout.at(clinic.data_dir, None)
    record = layout.record(layout.run_ids()[-1])
    path = notebook(record / "01_extract.ipynb")
    before = json.loads(path.read_text())["cells"]
    stamp_notebooks(record, newest(clinic))
    once = path.read_bytes()
    stamp_notebooks(record, newest(clinic))
    assert path.read_bytes() == once
    assert json.loads(once)["cells"][1:] == before
    nbformat.validate(nbformat.read(path, as_version=4))
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_notebook_any_more_is_left_as_it_is(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    clinic.run()
    layout = Layout.at(clinic.data_dir, None)
    record = layout.record(layout.run_ids()[-1])
    for content in (b"{", b"[]", b'{"cells": 1}', b'{"cells": ["x"]}'):
        (record / "01_extract.ipynb").write_bytes(content)
        stamp_notebooks(record, newest(clinic))
        assert (record / "01_extract.ipynb").read_bytes() == content


def test_privacy_4_markup_in_a_file_name_or_a_reason_is_text_in_the_first_cell(clinic: Clinic) -> None:
    hostile = "<script>alert(1)</script>[x](javascript:alert(1)) | `a` *b* ![i](http://x) $x$.csv"
    clinic.deliver([row("V1")])
    clinic.run()
    screen = newest(clinic)
    changed = {"facts": (("delivery 1", hostile),), "since": (hostile,), "caveats": (hostile,), "sentence": hostile}
    screen = replace(screen, previous="000001", **changed)
    tags: list[str] = []
    text: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore[method-assign]
    parser.handle_data = text.append  # type: ignore[method-assign]
    parser.feed(str(mistune.create_markdown(escape=False, plugins=["table"])(first_screen_markdown(screen, "x", "y"))))
    assert set(tags) <= {"h1", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "hr"}
    assert "".join(text).count(hostile) == 4
