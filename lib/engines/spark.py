"""The Spark engine: lib/sql/staging on a cluster, by the functions of lib/sql/spark.

No row of a visit comes into this process. Workers read the snapshots and write the staged files as part files, both
under the data folder, which they must see by its path. What goes through here is streamed, part by part: the visit ids
that the warehouse is asked about with its answers, and the hashes of refused texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib import sql
from lib.batch_reader import BatchReader
from lib.config import ROOT
from lib.config import Engine as Settings
from lib.engines import spark_dates, spark_reading
from lib.engines.interface import Question
from lib.engines.spark_session import open_session
from lib.files import TEMPORARY_PREFIX
from lib.parts import part_files, remove_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COMPILED_FROM = 4 << 20
"""Bytes: of less, compiling the plans and making them anew after each step costs more than it saves."""
SCRATCH = f"{TEMPORARY_PREFIX}spark"
ASKED_AT_ONCE = 1_000_000
"""Rows about which the warehouse is asked at once: what this process holds of them."""


@contextmanager
def open_engine(settings: Settings, folder: Path) -> Iterator[SparkEngine]:
    """A session for one stage, with a folder for what it keeps. See spark_session.py for what it raises."""
    assert settings.master
    scratch = (folder / SCRATCH).resolve()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    try:
        with open_session(settings.master, scratch) as session:
            for text in sql.statements("spark/macros"):
                session.sql(text)
            engine = SparkEngine(session, scratch)
            try:
                yield engine
            finally:
                engine.close()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def open_staged(
    settings: Settings, visits: Path, columns: Sequence[str], limit: int
) -> Iterator[tuple[DataFrame, bool]]:
    """A frame of Spark's, in the types that the suite compares rightly (lib/judged.py). It is counted over by every
    expectation: the workers keep what is judged."""
    staged_rows = sum(pq.read_metadata(each).num_rows for each in part_files(visits))
    sampled = staged_rows > limit
    with open_engine(settings, visits.parent) as engine:
        engine.read_staged("staged_visits", visits)
        chosen = f" ORDER BY row_hash NULLS LAST LIMIT {limit}" if sampled else ""
        engine.make("judged_visits", f"SELECT {_judged_types(columns)} FROM staged_visits{chosen}")
        yield engine.frame("judged_visits"), sampled


def _judged_types(columns: Sequence[str]) -> str:
    kinds = {"visit_date": "TIMESTAMP_LTZ", "visit_cost": "DOUBLE"}
    return ", ".join(f"CAST({each} AS {kinds[each]}) AS {each}" if each in kinds else each for each in columns)


class SparkEngine:
    """lib/engines/interface.py on one session."""

    kind = "spark"

    def __init__(self, session: SparkSession, scratch: Path) -> None:
        self._session, self._scratch = session, scratch
        self._made: list[DataFrame] = []
        self._reading: tuple[BatchReader, list[spark_reading.Piece], Path] | None = None
        self._files = 0

    def close(self) -> None:
        """Let the workers forget what they hold."""
        for frame in self._made:
            frame.unpersist()

    def literal(self, text: str) -> str:
        return spark_dates.literal(text)

    def declared_clock(self, value: str, declared: str) -> str:
        return spark_dates.declared_clock(value, declared)

    def read_records(self, reader: BatchReader) -> None:
        """A task a piece; see spark_reading.py."""
        pieces = spark_reading.plan_pieces(reader)
        told = self._new_path()
        told.mkdir(mode=0o700)
        context = self._session.sparkContext
        if not getattr(context, "_reads_visits", False):
            context.addPyFile(str(spark_reading.packed_code(ROOT, self._scratch)))
            context._reads_visits = True
        settings, folder = reader.settings, str(told)

        def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from lib.engines.spark_reading import read_piece

            for batch in batches:
                for number in batch.column(0).to_pylist():
                    yield from read_piece(pieces[number], number, settings, folder)

        size = sum(each.bytes for each in reader.deliveries)
        self._session.conf.set("spark.sql.shuffle.partitions", 2 + size // spark_reading.PIECE_BYTES)
        if size < COMPILED_FROM:
            self._session.conf.set("spark.sql.codegen.wholeStage", "false")
            self._session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
            self._session.conf.set("spark.sql.adaptive.enabled", "false")
        numbers = self._session.range(0, len(pieces), 1, max(len(pieces), 1))
        fields = ", ".join(f"`{each.name}` {_TYPES[each.type]}" for each in spark_reading.batch_schema(settings))
        self._name("records", numbers.mapInArrow(read, fields))
        self._reading = reader, pieces, told

    def take(self, name: str, rows: pa.Table) -> None:
        path = self._new_path()
        pq.write_table(rows, path)
        self._read(name, path)

    def ask(self, name: str, query: str, question: Question) -> None:
        asked, answers = self._new_path(), self._new_path()
        self._session.sql(query).write.parquet(asked.as_uri())
        answers.mkdir(mode=0o700)
        for number, rows in enumerate(_portions(asked)):
            pq.write_table(question(rows), answers / f"part-{number:05d}.parquet")
        self._read(name, answers)

    def drop(self, name: str) -> None:
        """Its name only: what was made of it may not have been asked for yet, and would be made of its sources anew."""
        self._session.catalog.dropTempView(name)

    def keep(self, name: str, query: str) -> None:
        """In files: a worker that is lost takes nothing with it that would have to be read again."""
        path = self._new_path()
        self._session.sql(query).write.parquet(path.as_uri())
        self._read(name, path)
        if self._reading:
            spark_reading.gather(*self._reading)
            self._reading = None

    def make(self, name: str, query: str) -> None:
        frame = self._session.sql(query).persist()
        self._made.append(frame)
        self._name(name, frame)

    def view(self, name: str, query: str) -> None:
        self._name(name, self._session.sql(query))

    def one_row(self, query: str) -> tuple[Any, ...]:
        (row,) = self._session.sql(query).collect()
        return tuple(row)

    def write(self, query: str, path: Path, *, few: bool = False) -> None:
        temporary = path.with_name(TEMPORARY_PREFIX + path.name)
        remove_table(temporary)
        frame = self._session.sql(query)
        (frame.coalesce(1) if few else frame).write.parquet(temporary.resolve().as_uri())
        parts = sorted(temporary.glob("part-*.parquet"))
        for each in temporary.iterdir():
            if each not in parts:  # marks and checksums
                each.unlink()
        for number, each in enumerate(parts):
            each.chmod(0o600)
            each.replace(temporary / f"part-{number:05d}.parquet")
        remove_table(path)
        if few:
            (temporary / "part-00000.parquet").replace(path)
            temporary.rmdir()
        else:
            temporary.replace(path)

    def read_staged(self, name: str, path: Path) -> None:
        self._read(name, path.resolve())

    def frame(self, name: str) -> DataFrame:
        """A relation as Spark's own frame."""
        return self._session.table(name)

    def _read(self, name: str, path: Path) -> None:
        self._name(name, self._session.read.parquet(path.as_uri()))

    def _name(self, name: str, frame: DataFrame) -> None:
        frame.createOrReplaceTempView(name)

    def _new_path(self) -> Path:
        self._files += 1
        return self._scratch / f"{self._files:03d}"


_TYPES = {pa.int64(): "BIGINT", pa.string(): "STRING", pa.bool_(): "BOOLEAN"}


def _portions(folder: Path) -> Iterator[pa.RecordBatchReader]:
    """The rows of part files, as many at once as may be asked about; at least one portion, which may be empty."""
    portion: list[pa.RecordBatch] = []
    schema = pq.read_schema(next(folder.glob("part-*.parquet")))
    is_first = True
    for path in sorted(folder.glob("part-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches():
            portion.append(batch)
            if sum(each.num_rows for each in portion) >= ASKED_AT_ONCE:
                yield pa.RecordBatchReader.from_batches(schema, portion)
                portion, is_first = [], False
    if portion or is_first:
        yield pa.RecordBatchReader.from_batches(schema, portion)
