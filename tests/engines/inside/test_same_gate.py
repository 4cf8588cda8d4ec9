"""The suite of row rules finds in Spark's frame what it finds in pandas': no more and no fewer rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.config import Engine, Settings
from lib.engines import duckdb, spark
from lib.gate import RuleResult, _judge_staged
from lib.judged import judged_staged, staged_parameters
from lib.validate import JUDGED_COLUMNS
from tests.engines.inside.staged_twice import SPARK

CLOCK = datetime(2025, 3, 2, 6, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("source", "visit_id", "patient_id", "provider_id", "diagnosis_code")),
        ("visit_date", pa.date32()),
        ("visit_cost", pa.decimal128(18, 2)),
        ("last_updated", pa.timestamp("us", tz="UTC")),
        ("row_hash", pa.string()),
    ]
)
GOOD = {
    "source": "clinic",
    "visit_id": "V1",
    "patient_id": "P1",
    "provider_id": None,
    "diagnosis_code": "J06.9",
    "visit_date": date(2025, 3, 1),
    "visit_cost": Decimal("1.50"),
    "last_updated": datetime(2025, 3, 1, 12, tzinfo=UTC),
    "row_hash": 64 * "a",
}
BAD = (
    {"visit_id": "V1"}, {"visit_id": None}, {"patient_id": None}, {"visit_date": None}, {"last_updated": None},
    {"patient_id": "é" * 128}, {"patient_id": "é" * 129}, {"provider_id": "x" * 200}, {"diagnosis_code": "?"},
    {"diagnosis_code": None}, {"diagnosis_code": "E849.0\n"}, {"visit_date": date(1899, 12, 31)},
    {"visit_date": date(2025, 3, 3)}, {"visit_date": date(2025, 3, 4)}, {"visit_cost": None},
    {"visit_cost": Decimal("-0.01")}, {"visit_cost": Decimal("10000000.01")}, {"row_hash": "A" * 64},
    {"row_hash": None}, {"last_updated": datetime(2025, 3, 2, 6, 5, tzinfo=UTC)},
    {"last_updated": datetime(2025, 3, 2, 6, 5, 0, 1, tzinfo=UTC)},
)  # fmt: skip


def judged(path: Path, limit: int) -> tuple[list[RuleResult], list[RuleResult]]:
    """By pandas and by Spark."""
    found = []
    for kind, settings in ((duckdb, Engine()), (spark, Engine(**SPARK))):
        with kind.open_staged(settings, path, JUDGED_COLUMNS, limit) as (frame, sampled):
            plain = judged_staged(frame) if isinstance(frame, pd.DataFrame) else frame
            rows = len(plain) if isinstance(plain, pd.DataFrame) else plain.count()
            found.append(_judge_staged(plain, staged_parameters(Settings(), CLOCK, rows)))
            assert sampled == (limit < 2 * len(BAD))
    return found[0], found[1]


@pytest.mark.usefixtures("joined")
def test_rows_that_break_every_rule(tmp_path: Path) -> None:
    bad = [{**GOOD, "visit_id": f"V{number}", **each} for number, each in enumerate(BAD, 2)]
    good = [{**GOOD, "visit_id": f"W{number}", "row_hash": f"{number:064x}"} for number in range(len(BAD))]
    path = tmp_path / "visits.parquet"
    path.mkdir()
    for number, rows in enumerate((bad, good)):
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path / f"part-{number:05d}.parquet")
    by_pandas, by_spark = judged(path, 1_000)
    assert by_spark == by_pandas
    assert sum(not each.passed for each in by_pandas) >= 6
    by_pandas, by_spark = judged(path, 9)
    assert by_spark == by_pandas
    assert all(each.passed for each in by_spark), "nine of the good, whose hashes come first"
