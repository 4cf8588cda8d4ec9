"""Every setting, read once, frozen. Unknown keys are errors; thresholds live in config.yaml and nowhere else."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lib import dates
from lib.errors import UsageError
from lib.sources.query_settings import Query

ROOT = Path(__file__).resolve().parent.parent
"""The project's root: relative paths in the config and in notebook parameters start here."""

CANONICAL = (
    "visit_id",
    "patient_id",
    "provider_id",
    "diagnosis_code",
    "visit_date",
    "visit_cost",
    "last_updated",
)
"""The seven canonical columns, in the table's order (which is `row_hash`'s order)."""

REQUIRED = ("visit_id", "patient_id", "visit_date", "last_updated")
TEXT_COLUMNS = ("visit_id", "patient_id", "provider_id", "diagnosis_code")

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = {
    *CANONICAL, "source", "row_hash", "delivery_seq", "source_line", "malformed", "reasons", "raw_text", "deleted_at",
    "deleted_seq",
    # names that the statements of lib/sql give to columns of their own
    "action", "clock", "is_accepted", "is_change", "is_context", "is_current", "is_held", "is_inside", "is_malformed",
    "is_same_stamp", "is_written", "last_line", "last_seq", "latest_line", "latest_seq", "latest_stamp",
    "latest_visit_date", "local_stamp", "parsed_stamp", "parsed_visit_date", "place", "stamp", "visit_cost_cents",
    "zone_seconds", "written_zone", "is_visible", "texts", "raw_malformed", *(f"raw_{name}" for name in CANONICAL),
    "cast_cost", "cast_date", "cast_stamp", "exact_cost", "exact_date", "exact_stamp", "of_visit_id", "of_patient_id",
    "of_provider_id", "of_diagnosis_code", "of_visit_date", "of_visit_cost", "of_last_updated",
}  # fmt: skip


def _identifier(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError("must be lower-case letters, digits and underscores, beginning with a letter")
    return name


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _one_character(text: str) -> str:
    if len(text) != 1 or text in "\r\n":
        raise ValueError("must be exactly one character, not a line end")
    return text


def _codec(name: str) -> str:
    try:
        info = codecs.lookup(name)
    except LookupError as error:
        raise ValueError("is not a text encoding that Python knows") from error
    if not getattr(info, "_is_text_encoding", True):
        raise ValueError("is not a text encoding")
    return info.name


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is not a time zone name such as Europe/Berlin or UTC") from error
    return name


def _formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    if not formats:
        raise ValueError("needs at least one format; iso is the default")
    for each in formats:
        dates.check_format(each)
    return formats


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from error
    return pattern


Identifier = Annotated[str, AfterValidator(_identifier)]
Name = Annotated[str, AfterValidator(_not_blank)]
Character = Annotated[str, AfterValidator(_one_character)]
Formats = Annotated[tuple[str, ...], AfterValidator(_formats)]
FileFormat = Literal["csv", "ndjson", "parquet"]
Share = Annotated[float, Field(ge=0, le=1)]
Regex = Annotated[str, AfterValidator(_regex)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Frozen):
    """Where deliveries come from and how their text is written."""

    name: Identifier = "clinic"
    kind: Literal["files", "query"] = "files"
    path: Name = "data/input/patient_visits.csv"
    format: FileFormat | None = None
    query: Query = Query()
    deliveries: Literal["incremental", "full"] = "incremental"
    deletes: Literal["report", "mark"] = "report"
    delimiter: Character = ","
    quote: Character = '"'
    encoding: Annotated[str, AfterValidator(_codec)] = "utf-8"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"

    @model_validator(mode="after")
    def _delimiter_is_not_quote(self) -> Source:
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote must differ")
        return self

    @model_validator(mode="after")
    def _a_query_is_told(self) -> Source:
        if self.kind == "query" and self.query.url is None:
            raise ValueError("kind: query needs query.url, as postgresql://reader@host/database")
        if self.kind == "query" and (self.query.sql is None) == (self.query.sql_file is None):
            raise ValueError("kind: query needs either query.sql or query.sql_file")
        if self.kind == "query" and self.format not in (None, "parquet"):
            raise ValueError("the result of a query is kept as parquet; leave 'format' out")
        return self

    @model_validator(mode="after")
    def _deletes_need_full_deliveries(self) -> Source:
        if self.deletes == "mark" and self.deliveries != "full":
            raise ValueError("deletes: mark needs deliveries: full; an increment cannot tell what is gone")
        return self


class Columns(_Frozen):
    """The source's name of each canonical column; null where the source has none."""

    visit_id: Name = "visit_id"
    patient_id: Name = "patient_id"
    provider_id: Name | None = "provider_id"
    diagnosis_code: Name | None = "diagnosis_code"
    visit_date: Name = "visit_date"
    visit_cost: Name | None = "visit_cost"
    last_updated: Name | None = "last_updated"


class DateFormats(_Frozen):
    """Declared formats, tried in order: `iso`, or strptime directives (see lib/dates.py)."""

    visit_date: Formats = ("iso",)
    last_updated: Formats = ("iso",)


class NullMarkers(_Frozen):
    """Texts that mean null, per column, beside the blank."""

    visit_id: tuple[str, ...] = ()
    patient_id: tuple[str, ...] = ()
    provider_id: tuple[str, ...] = ()
    diagnosis_code: tuple[str, ...] = ()
    visit_date: tuple[str, ...] = ()
    visit_cost: tuple[str, ...] = ()
    last_updated: tuple[str, ...] = ()


class Rules(_Frozen):
    """Bounds that a value is judged by."""

    min_visit_date: date = date(1900, 1, 1)
    max_future_days: int = Field(default=1, ge=0, le=366)
    clock_skew_minutes: int = Field(default=5, ge=0, le=1440)
    max_visit_cost: Decimal = Field(default=Decimal(10_000_000), ge=0, le=Decimal("9999999999999999.99"))


class Gate(_Frozen):
    """Thresholds of the two Great Expectations suites, under the names the suites use (expectations/README.md)."""

    min_failing_rows: int = Field(default=3, ge=0)
    max_missing_share: Share = 0.05
    max_invalid_visit_date_share: Share = 0.05
    max_refused_share: Share = 0.05
    max_restated_days: int | None = Field(default=None, ge=0)
    max_null_cost_share: Share = 0.10
    max_row_count_drop: Share = 0.50
    max_row_count_deviation: float = Field(default=6, gt=0, allow_inf_nan=False)
    max_hours_since_newest: float = Field(default=72, gt=0)
    min_diagnosis_shape_share: Share = 0.95
    diagnosis_code_regex: Regex = r"^([A-Z][0-9][0-9A-Z](\.?[0-9A-Z]{1,4})?|E?[0-9]{3}(\.?[0-9]{1,2})?)$"
    max_native_rows: int = Field(default=1_000_000, ge=1)


class Engine(_Frozen):
    """What stages: `duckdb` in this process, or `spark` on the cluster of `master`. And what this process may use, for
    staging and for the tables."""

    kind: Literal["duckdb", "spark"] = "duckdb"
    master: Annotated[str, Field(pattern=r"^(local(-cluster)?\[.+\]|local|yarn|spark://.+|k8s://.+)$")] | None = None
    memory_limit: Annotated[str, Field(pattern=r"^(0\.0*[1-9]\d*|[1-9]\d*(\.\d+)?)(MiB|GiB)$")] = "1.5GiB"
    threads: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _spark_has_a_master(self) -> Engine:
        if (self.kind == "spark") != (self.master is not None):
            raise ValueError("kind: spark needs master, as spark://host:7077; no other kind has one")
        return self


class Window(_Frozen):
    lookback_hours: float = Field(default=24, ge=0, le=24 * 3660)


class Settings(_Frozen):
    """The whole config. Grain: one source into one warehouse."""

    source: Source = Source()
    columns: Columns = Columns()
    carry: dict[Identifier, Name] = Field(default_factory=dict)
    formats: DateFormats = DateFormats()
    null_markers: NullMarkers = NullMarkers()
    rules: Rules = Rules()
    window: Window = Window()
    gate: Gate = Gate()
    engine: Engine = Engine()
    warehouse: str | None = None
    min_group_size: int = Field(default=8, ge=1)
    readers_group: str | None = None
    anchor: Name | None = None

    @model_validator(mode="after")
    def _stampless_needs_full_deliveries(self) -> Settings:
        if self.columns.last_updated is None and self.source.deliveries != "full":
            raise ValueError("columns.last_updated is null, so source.deliveries must be 'full'")
        taken = sorted(set(self.carry) & _RESERVED)
        if taken:
            raise ValueError(f"carry: {', '.join(taken)} is a column of the pipeline's own; choose another name")
        return self

    @property
    def stamped(self) -> bool:
        """Whether the source says when a visit was last updated."""
        return self.columns.last_updated is not None

    @property
    def wanted(self) -> dict[str, str]:
        """Our name → the source's name, for every column that is read: canonical, then carried."""
        canonical = {ours: getattr(self.columns, ours) for ours in CANONICAL}
        return {ours: theirs for ours, theirs in {**canonical, **self.carry}.items() if theirs is not None}

    @property
    def marks_deletes(self) -> bool:
        """Whether a visit that a full delivery no longer holds is marked deleted."""
        return self.source.deletes == "mark"

    @property
    def rules_digest(self) -> str:
        """SHA-256 of every setting that decides how a row is read, judged and kept: what may not mix in one table."""
        deciding = self.model_dump(
            mode="json",
            include={
                "source": {"deliveries", "deletes", "delimiter", "quote", "encoding", "timezone"},
                **dict.fromkeys(("columns", "carry", "formats", "null_markers", "rules"), True),
            },
        )
        if self.source.format:
            deciding["source"]["format"] = self.source.format
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def resolve(path: str | Path) -> Path:
    """A path as given, relative ones from the project's root."""
    return ROOT / Path(path).expanduser()


def load_settings(config_file: str | Path, **overrides: Any) -> Settings:
    """Read config.yaml; `overrides` are dotted as `source__path="x.csv"`, None meaning not given. Raises UsageError."""
    path = resolve(config_file)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise UsageError(f"{path.name}: no such config file; copy config.yaml and name it with --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name}: cannot be read ({type(error).__name__}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path.name}{where}: is not YAML; mind indentation and quotes.") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path.name}: must be a mapping of settings, as config.yaml is.")
    for dotted, value in overrides.items():
        if value is not None:
            *sections, key = dotted.split("__")
            target = content
            for section in sections:
                target = target.setdefault(section, {})
                if not isinstance(target, dict):
                    break  # the check tells what the file has instead of a section
            else:
                target[key] = value
    return settings_from(content, path.name)


def settings_from(content: dict[str, Any], origin: str) -> Settings:
    """Checked settings from a plain mapping; `origin` names it in errors. Raises UsageError."""
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]")
        what = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            what = "unknown setting; see config.yaml for all of them"
        raise UsageError(f"{origin}: {where + ': ' if where else ''}{what}.") from None
