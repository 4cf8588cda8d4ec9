"""A run's tables as pandas frames with Arrow types, for a data scientist: one call away, identifiers masked.

`reveal=True` shows them as they are, in a JupyterLab that `make lab` started (lib/lab.py) and nowhere else; the journal
of decisions notes it first. Masked are ids, what is carried along as text, and of a refused row all its original texts:
nobody has judged what stands in them.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib import confidential
from lib.config import CANONICAL
from lib.decisions import note_look
from lib.disclosure import IDENTIFIERS, mask_frame, merge_small_periods, shown_cost
from lib.errors import UsageError
from lib.parts import part_files
from lib.run import Run
from lib.sql import statement
from lib.warehouse import fact_columns, reading
from lib.warehouses.choose import kind_of

HASHES = ("row_hash", "identity")
"""Made of the values: whoever guesses the values can prove the guess."""

FOR_THE_LOAD = ("is_written", "latest_stamp", "latest_seq", "latest_line", "last_seq", "last_line")
"""Columns of the staged visits that only the load reads; no carried column may have their names."""

A_CENT = pa.scalar(Decimal("0.01"), pa.decimal128(3, 2))
_FACT_TYPES = {
    "visit_date": pa.date32(),
    "visit_cost": pa.decimal128(18, 2),
    "last_updated": pa.timestamp("us", tz="UTC"),
    "deleted_at": pa.timestamp("us", tz="UTC"),
    "deleted_seq": pa.int64(),
    "delivery_seq": pa.int64(),
    "source_line": pa.int64(),
}
_DAILY_TYPES = {
    "visit_date": pa.date32(),
    "visit_count": pa.int64(),
    "patient_count": pa.int64(),
    "total_visit_cost": pa.decimal128(18, 2),
    "avg_visit_cost": pa.decimal128(18, 2),
    "missing_cost_count": pa.int64(),
}


def visits(run: Run, reveal: bool = False) -> pd.DataFrame:
    """The run's staged visits. Grain: one row per visit_id of the batch, in its order. Raises UsageError before 02."""
    frame = _parquet(run, "visits.parquet").sort_values("visit_id", ignore_index=True)  # a file may be in no order
    return _shown(run, "staged visits", frame, (*IDENTIFIERS, *HASHES, *run.settings.carry), reveal)


def rejected(run: Run, reveal: bool = False) -> pd.DataFrame:
    """The rows that the run refused, with all reasons and, when revealed, their original text.

    Grain: one row per (delivery_seq, source_line). Raises UsageError before 02.
    """
    frame = _parquet(run, "rejected.parquet")
    return _shown(run, "refused rows", frame, (*CANONICAL, "malformed", "visit_key", *HASHES), reveal)


def facts(run: Run, reveal: bool = False) -> pd.DataFrame:
    """fact_visits as it stands now, of all sources. Grain: one row per (source, visit_id)."""
    with_costs = {"visit_cost": "visit_cost_cents"}
    frame = _table(run, "fact_visits", _FACT_TYPES, with_costs)
    text = [name for name in frame.columns if name not in (*_FACT_TYPES, "source", "diagnosis_code")]
    return _shown(run, "fact_visits", frame, text, reveal)


def daily(run: Run) -> pd.DataFrame:
    """daily_visit_metrics as it stands now. Grain: one row per visit_date. Costs in currency units, exact."""
    costs = {name: f"{name}_cents" for name in ("total_visit_cost", "avg_visit_cost")}
    return _table(run, "daily_visit_metrics", _DAILY_TYPES, costs)


def staged_schema(run: Run, name: str) -> pd.DataFrame:
    """What a staged Parquet file is made of, from its own statistics: no value is read.

    Grain: one row per column, but for those that only the load reads: its name, Arrow type, rows and nulls.
    """
    parts = [pq.read_metadata(each) for each in part_files(_staged_file(run, name))]
    groups = [part.row_group(place) for part in parts for place in range(part.num_row_groups)]
    metadata = parts[0]
    schema = metadata.schema.to_arrow_schema()
    places = {metadata.schema.column(place).path.split(".")[0]: place for place in range(len(metadata.schema))}
    fields = [field for field in schema if field.name not in FOR_THE_LOAD]
    nulls = [sum(group.column(places[field.name]).statistics.null_count for group in groups) for field in fields]
    return pd.DataFrame(
        {
            "column": [field.name for field in fields],
            "type": [str(field.type) for field in fields],
            "rows": sum(part.num_rows for part in parts),
            "nulls": nulls,
        }
    )


def lateness_hours(run: Run) -> pd.DataFrame:
    """How far behind the watermark new versions came. Grain: one row per whole hour; 0 is at or after it."""
    return _parquet(run, "lateness.parquet")


def example_query(run: Run) -> str:
    """The example of the README, as one would type it."""
    return statement("examples/visits_by_week", run.layout.kind).strip()


def example_result(run: Run) -> pd.DataFrame:
    """What the example query gives, safe to show. Grain: one row per week, or wider where small."""
    minimum = run.settings.min_group_size
    with reading(run.layout) as connection:
        rows = pd.DataFrame([dict(row) for row in connection.execute(example_query(run))])
    if rows.empty:
        return pd.DataFrame(columns=["period", "visits", "visits_with_cost", "cost"])
    rows["monday"] = rows["monday"].str[:10]  # where a week is cut to an instant, its day
    rows["cents"] = (rows.pop("cost") * 100).round().astype("int64")
    merged = merge_small_periods(rows, minimum, ["visits", "visits_with_cost"], day="monday", grain="week")
    pairs = zip(merged["cents"], merged["visits_with_cost"], strict=True)
    merged["cost"] = pd.Series([shown_cost(cents, known, minimum) for cents, known in pairs], dtype="Int64")
    return merged[["period", "visits", "visits_with_cost", "cost"]]


def _shown(run: Run, what: str, frame: pd.DataFrame, hidden: Any, reveal: bool) -> pd.DataFrame:
    if not reveal:
        return mask_frame(frame, hidden)
    if not confidential.is_interactive():
        raise UsageError(
            "reveal: rows are shown only in the JupyterLab of make lab, which saves none of them; use that, or leave "
            "reveal out."
        )
    note_look(run.layout, "reveal", source=run.source, scope=f"{what} of run {run.run_id}")
    return frame


def _staged_file(run: Run, name: str) -> Path:
    path = run.staging / name
    if not path.exists() and run.manifest.get("staged"):
        raise UsageError(
            f"the staged rows of run {run.run_id} were pruned; python run_pipeline.py --full-refresh stages every "
            "delivery again, from the snapshots; then open that run."
        )
    if not path.exists():
        raise UsageError(f"run {run.run_id} has staged nothing yet; run 02_stage first.")
    return path


def _parquet(run: Run, name: str) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(_staged_file(run, name)).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _table(run: Run, name: str, types: dict[str, pa.DataType], costs: dict[str, str]) -> pd.DataFrame:
    """A warehouse table in Arrow types, costs made from their cents: its own may be REAL, for reading by eye."""
    with reading(run.layout) as connection:
        names = fact_columns(connection) if name == "fact_visits" else [*types]
        names = [each for each in names if each not in costs.values()]
        if name == "fact_visits":
            names.insert(names.index("visit_date") + 1, "visit_cost")
        chosen = ", ".join(f'"{costs.get(each, each)}" AS "{each}"' for each in names)
        kinds = [pa.int64() if each in costs else types.get(each, pa.string()) for each in names]
        schema = pa.schema(list(zip(names, kinds, strict=True)))
        table = kind_of(connection).fetch_table(connection, f"SELECT {chosen} FROM {name}", [], schema)
    for each in costs:
        cents = table[each].cast(pa.decimal128(19, 0))
        place = table.column_names.index(each)
        table = table.set_column(place, each, pc.multiply(cents, A_CENT).cast(types[each]))
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
