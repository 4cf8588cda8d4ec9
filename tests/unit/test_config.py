"""The config: what it may say, and one line for everything that it may not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.config import CANONICAL, ROOT, Settings, load_settings, resolve, settings_from
from lib.errors import UsageError
from lib.layout import Layout


def refusal(content: Any) -> str:
    with pytest.raises(UsageError) as caught:
        settings_from(content, "clinic.yaml")
    message = str(caught.value)
    assert message.isprintable() and message.endswith(".") and caught.value.exit_code == 2
    return message.removeprefix("clinic.yaml: ")


def test_the_shipped_config_says_every_setting_with_its_default() -> None:
    """So that the file documents the whole, and nothing is set in two places."""
    written = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert load_settings("config.yaml") == Settings()
    model = Settings().model_dump()
    assert {
        section: set(each) if isinstance(each, dict) else each for section, each in written.items()
    }.keys() == model.keys()
    for section, each in model.items():
        if isinstance(each, dict) and section != "carry":
            assert set(written[section]) == set(each), section


def test_an_empty_config_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_settings(tmp_path / "empty.yaml") == Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().source.name = "other"  # type: ignore[misc]


def test_wanted_names_are_canonical_then_carried_without_what_is_not_mapped() -> None:
    settings = settings_from({"columns": {"visit_id": "Id", "visit_cost": None}, "carry": {"ward": "Station"}}, "x")
    assert list(settings.wanted.items()) == [
        ("visit_id", "Id"), *((name, name) for name in CANONICAL[1:5]), ("last_updated", "last_updated"),
        ("ward", "Station"),
    ]  # fmt: skip
    assert settings.stamped


def test_a_source_without_stamps() -> None:
    settings = settings_from({"columns": {"last_updated": None}, "source": {"deliveries": "full"}}, "x")
    assert not settings.stamped and "last_updated" not in settings.wanted


@pytest.mark.parametrize("limit", ["512MiB", "0.5GiB", "10GiB", "1.25GiB", "0.05GiB"])
def test_memory_is_a_number_with_a_unit(limit: str) -> None:
    assert settings_from({"engine": {"memory_limit": limit}}, "x").engine.memory_limit == limit


def test_values_are_read_exactly() -> None:
    rules = settings_from({"rules": {"max_visit_cost": "0.005", "min_visit_date": "1950-02-28"}}, "x").rules
    assert (rules.max_visit_cost, rules.min_visit_date) == (Decimal("0.005"), date(1950, 2, 28))


REFUSED: dict[str, tuple[Any, str]] = {
    "unknown section": ({"sources": {}}, "sources: unknown setting; see config.yaml for all of them."),
    "unknown setting": ({"gate": {"max_refused": 0.1}}, "gate.max_refused: unknown setting;"),
    "unknown column": ({"columns": {"ward": "Ward"}}, "columns.ward: unknown setting;"),
    "section that is no mapping": ({"source": "visits.csv"}, "source: Input should be"),
    "section left blank": ({"source": None}, "source: Input should be"),
    "name in upper case": ({"source": {"name": "Clinic"}}, "source.name: must be lower-case letters, digits"),
    "name that leaves its folder": ({"source": {"name": "../x"}}, "source.name: must be lower-case letters"),
    "name that is too long": ({"source": {"name": "a" * 64}}, "source.name: must be lower-case letters"),
    "blank path": ({"source": {"path": " "}}, "source.path: must not be blank."),
    "deliveries": ({"source": {"deliveries": "all"}}, "source.deliveries: Input should be 'incremental' or 'full'."),
    "delimiter of two": ({"source": {"delimiter": "||"}}, "source.delimiter: must be exactly one character"),
    "no delimiter": ({"source": {"delimiter": ""}}, "source.delimiter: must be exactly one character"),
    "line end as delimiter": ({"source": {"delimiter": "\n"}}, "source.delimiter: must be exactly one character, not"),
    "no quote": ({"source": {"quote": None}}, "source.quote: Input should be a valid string."),
    "delimiter as quote": ({"source": {"delimiter": '"'}}, "source: delimiter and quote must differ."),
    "unknown encoding": ({"source": {"encoding": "utf-9"}}, "source.encoding: is not a text encoding that Python"),
    "encoding of bytes": ({"source": {"encoding": "base64"}}, "source.encoding: is not a text encoding."),
    "unknown zone": ({"source": {"timezone": "Mars/Base"}}, "source.timezone: is not a time zone name such as"),
    "zone that leaves its folder": ({"source": {"timezone": "../UTC"}}, "source.timezone: is not a time zone name"),
    "blank zone": ({"source": {"timezone": ""}}, "source.timezone: is not a time zone name"),
    "required column not mapped": ({"columns": {"visit_id": None}}, "columns.visit_id: Input should be a valid"),
    "column mapped to a blank": ({"columns": {"visit_id": " "}}, "columns.visit_id: must not be blank"),
    "stamps not mapped for increments": ({"columns": {"last_updated": None}}, "columns.last_updated is null, so"),
    "carried name in upper case": ({"carry": {"Ward": "Ward"}}, "carry.Ward: must be lower-case letters, digits"),
    "carried name that is SQL": ({"carry": {"x; DROP": "Ward"}}, "carry.x; DROP: must be lower-case letters, digits"),
    "carried from a blank": ({"carry": {"ward": ""}}, "carry.ward: must not be blank"),
    "no date format": ({"formats": {"visit_date": []}}, "formats.visit_date: needs at least one format"),
    "half a date format": ({"formats": {"visit_date": ["%Y"]}}, "formats.visit_date: date format '%Y' needs a year, a"),
    "one text for formats": ({"formats": {"visit_date": "iso"}}, "formats.visit_date: Input should be a valid tuple."),
    "unquoted NULL in YAML": ({"null_markers": {"visit_cost": [None]}}, "null_markers.visit_cost.0: Input should be a"),
    "days below zero": ({"rules": {"max_future_days": -1}}, "rules.max_future_days: Input should be greater than or"),
    "skew of a week": ({"rules": {"clock_skew_minutes": 10080}}, "rules.clock_skew_minutes: Input should be less than"),
    "cost limit below zero": ({"rules": {"max_visit_cost": -1}}, "rules.max_visit_cost: Input should be greater than"),
    "cost limit beyond the type": ({"rules": {"max_visit_cost": 10**16}}, "rules.max_visit_cost: Input should be less"),
    "cost limit that is no number": ({"rules": {"max_visit_cost": "NaN"}}, "rules.max_visit_cost: Input should be a"),
    "first date that is none": ({"rules": {"min_visit_date": "2025-02-30"}}, "rules.min_visit_date: Input should be a"),
    "lookback below zero": ({"window": {"lookback_hours": -1}}, "window.lookback_hours: Input should be greater than"),
    "lookback for ever": ({"window": {"lookback_hours": float("inf")}}, "window.lookback_hours: Input should be less"),
    "share over 1": ({"gate": {"max_refused_share": 5}}, "gate.max_refused_share: Input should be less than or equal"),
    "share that is no number": ({"gate": {"max_null_cost_share": float("nan")}}, "gate.max_null_cost_share: Input"),
    "freshness of none": ({"gate": {"max_hours_since_newest": 0}}, "gate.max_hours_since_newest: Input should be"),
    "broken regex": ({"gate": {"diagnosis_code_regex": "("}}, "gate.diagnosis_code_regex: is not a regular expression"),
    "memory without unit": ({"engine": {"memory_limit": "1024"}}, "engine.memory_limit: String should match pattern"),
    "memory of nothing": ({"engine": {"memory_limit": "0.0GiB"}}, "engine.memory_limit: String should match pattern"),
    "no thread": ({"engine": {"threads": 0}}, "engine.threads: Input should be greater than or equal to 1."),
    "groups of nobody": ({"min_group_size": 0}, "min_group_size: Input should be greater than or equal to 1."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    content, said = REFUSED[case]
    assert refusal(content).startswith(said)


@pytest.mark.parametrize("name", [*CANONICAL, "source", "row_hash", "stamp", "clock", "action", "place", "malformed"])
def test_the_pipeline_s_own_names_cannot_be_carried(name: str) -> None:
    assert refusal({"carry": {name: "Ward"}}) == (
        f"carry: {name} is a column of the pipeline's own; choose another name."
    )


# The file


def missing(path: Path) -> None:
    pass


def folder(path: Path) -> None:
    path.mkdir()


def latin_1(path: Path) -> None:
    path.write_bytes("source: {name: größe}".encode("latin-1"))


def writing(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (missing, "clinic.yaml: no such config file; copy config.yaml and name it with --config."),
        (folder, "clinic.yaml: cannot be read (IsADirectoryError)."),
        (latin_1, "clinic.yaml: cannot be read (UnicodeDecodeError)."),
        (writing("source:\n  name: [a\n"), "clinic.yaml, line 3: is not YAML; mind indentation and quotes."),
        (writing("source:\n\tname: a\n"), "clinic.yaml, line 2: is not YAML; mind indentation and quotes."),
        (writing("a: \x00"), "clinic.yaml: is not YAML; mind indentation and quotes."),
        (writing("- source\n"), "clinic.yaml: must be a mapping of settings, as config.yaml is."),
        (writing("just words"), "clinic.yaml: must be a mapping of settings, as config.yaml is."),
        (writing("!!python/object/apply:os.system [echo]"), "clinic.yaml, line 1: is not YAML; mind indentation"),
        (writing("source: {nmae: x}"), "clinic.yaml: source.nmae: unknown setting; see config.yaml for all of them."),
        (writing("1: x"), "clinic.yaml: 1: "),
    ],
)
def test_a_file_that_is_no_config(make: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    make(tmp_path / "clinic.yaml")
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path / "clinic.yaml")
    assert str(caught.value).startswith(said) and str(caught.value).isprintable()


def test_options_go_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "clinic.yaml").write_text("source: {name: other, path: a.csv}\nwindow: {lookback_hours: 5}\n")
    settings = load_settings(
        tmp_path / "clinic.yaml", source__path="b.csv", window__lookback_hours=0, warehouse="sqlite:///w.db"
    )
    assert (settings.source.name, settings.source.path) == ("other", "b.csv")
    assert (settings.window.lookback_hours, settings.warehouse) == (0, "sqlite:///w.db")
    unchanged = load_settings(tmp_path / "clinic.yaml", source__path=None)
    assert (unchanged.source.path, unchanged.window.lookback_hours) == ("a.csv", 5)


@pytest.mark.parametrize("text", ["source:\n", "source: visits.csv\n", "source: []\n"])
def test_an_option_for_a_section_that_is_no_mapping(text: str, tmp_path: Path) -> None:
    """A section whose settings are all commented out is the file's fault, not an unexpected failure."""
    (tmp_path / "clinic.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"^clinic\.yaml: source: Input should be"):
        load_settings(tmp_path / "clinic.yaml", source__path="b.csv")


def test_paths_start_at_the_project_s_root_or_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("data/x.csv") == ROOT / "data" / "x.csv"
    assert resolve("/x.csv") == Path("/x.csv")
    assert resolve("~/x.csv") == tmp_path / "x.csv"


@pytest.mark.parametrize("url", ["warehouse.db", "sqlite://w.db", "sqlite:///", "postgres:///x", ""])
def test_a_warehouse_that_is_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^warehouse: must be written sqlite:///path/to/warehouse"):
        Layout.at(tmp_path, url)


def test_where_the_warehouse_is(tmp_path: Path) -> None:
    assert Layout.at(tmp_path, None).warehouse == tmp_path / "warehouse.db"
    assert Layout.at(tmp_path, "sqlite:///sub/w.db").warehouse == tmp_path / "sub" / "w.db"
    assert Layout.at(tmp_path, "sqlite:////elsewhere/w.db").warehouse == Path("/elsewhere/w.db")
