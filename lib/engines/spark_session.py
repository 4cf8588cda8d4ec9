"""A session of Spark: begun on the configured master, silent, given up when the cluster is lost.

Nothing that Spark says reaches the terminal or a notebook: its words may hold values. What it raises becomes ours.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import PipelineError, TemporaryFailure, UsageError
from lib.extras import lacking

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONNECT_SECONDS = 5
WAIT_SECONDS = float(os.environ.get("PATIENT_VISITS_SPARK_WAIT", "60"))
"""How long a job may be without any worker: they come up one after the other, and a lost one is replaced."""

OF_THE_CLUSTER = {
    "spark.ui.enabled": "false",  # a page that anyone could read
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",
    "spark.executor.syncLogLevel.enabled": "true",  # on the workers as here
    "spark.sql.variable.substitute": "false",
}
OF_THE_SESSION = {
    "spark.sql.ansi.enabled": "true",  # nothing overflows or turns null unasked: casts that may fail are TRY_CAST
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
}


@contextmanager
def open_session(master: str, scratch: Path) -> Iterator[SparkSession]:
    """A session of its own, with its own views. A cluster that the process is joined to already stays joined. What this
    machine spills of rows is under `scratch`; the workers of a cluster have folders of their own.

    Raises UsageError where Spark or Java is not installed, TemporaryFailure when the cluster is away or lost.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark import SparkContext
        from pyspark.errors import PySparkException
    except ImportError:
        raise lacking("engine.kind is spark, and pyspark", "spark") from None
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support")
    began = SparkContext._active_spark_context is None
    lost = threading.Event()
    session: SparkSession | None = None
    try:
        session = _joined(master, scratch)
        with _watched(session, master, lost):
            yield session
    except (PySparkException, Py4JError, ConnectionError) as error:
        if lost.is_set() or _is_stopped(session):
            raise TemporaryFailure(
                f"the Spark cluster at {master} is lost or gives no worker; look at it and run again."
            ) from error
        raise PipelineError(
            f"the engine refused a statement ({type(error).__name__}); details are in the log."
        ) from error
    finally:
        if began and session is not None:
            with suppress(Exception):
                session.stop()


def _joined(master: str, scratch: Path) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is None:
        _require_master(master)
        if master.startswith("local"):
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        conf = SparkConf(loadDefaults=False).setMaster(master).setAppName("patient visits")
        conf.setAll([*OF_THE_CLUSTER.items(), ("spark.local.dir", str(scratch))])
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            if SparkContext._gateway is None:
                SparkContext._ensure_initialized(gateway=launch_gateway(conf, quiet), conf=conf)
        except PySparkRuntimeError:
            raise UsageError(
                "Spark could not be started: it needs Java 17 or 21 (JAVA_HOME, or java on the PATH)."
            ) from None
        try:
            context = SparkContext(conf=conf)
        except Exception as error:  # of any kind: the master gave no answer, or another one than ours
            raise TemporaryFailure(
                f"the Spark cluster at {master} cannot be joined; look at it and run again."
            ) from error
        context.setLogLevel("OFF")
    session = SparkSession.builder.getOrCreate().newSession()
    for name, value in OF_THE_SESSION.items():
        session.conf.set(name, value)
    return session


def _require_master(master: str) -> None:
    """Raise TemporaryFailure when no master answers: Spark itself would ask for a minute."""
    if not master.startswith("spark://"):
        return
    places = re.findall(r"([^/,:]+):(\d+)", master.removeprefix("spark://"))
    for host, port in places:
        with suppress(OSError), socket.create_connection((host, int(port)), CONNECT_SECONDS):
            return
    raise TemporaryFailure(f"no Spark master answers at {master}; start it and run again.")


@contextmanager
def _watched(session: SparkSession, master: str, lost: threading.Event) -> Iterator[None]:
    """While the block runs, jobs are given up once no worker was there for WAIT_SECONDS: Spark would wait for ever."""
    context: Any = session.sparkContext._jsc.sc()
    done = threading.Event()

    def watch() -> None:
        absent, step = 0.0, 1.0
        while not done.wait(step):
            try:
                workers = len(context.statusTracker().getExecutorInfos()) - 1
            except Exception:  # the context is stopped: whoever waits for a job is told so
                return
            absent = 0.0 if workers > 0 else absent + step
            if absent >= WAIT_SECONDS:
                lost.set()
                with suppress(Exception):
                    context.cancelAllJobs()

    if master.startswith("local[") or master == "local":  # this process is the worker
        yield
        return
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_stopped(session: SparkSession | None) -> bool:
    try:
        context: Any = session and session.sparkContext._jsc.sc()
        return context is None or bool(context.isStopped())
    except Exception:  # the process of Spark itself is gone
        return True
