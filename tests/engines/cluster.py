"""A standalone cluster of Spark on this machine: a master and its workers, processes that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.listening import HOST, free_port, wait_until_it_listens


@dataclass
class Cluster:
    """`environment` is what its processes, and those that use it, are started with."""

    folder: Path
    environment: dict[str, str]
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def master(self) -> str:
        return f"spark://{HOST}:{self.port}"

    def add_worker(self, cores: int = 1, memory: str = "1g") -> int:
        """Start a worker; the number by which it can be killed."""
        number = len(self.processes)
        words = ["--host", HOST, "--cores", str(cores), "--memory", memory, "--webui-port", "0"]
        words += ["-d", str(self.folder / f"worker-{number}"), self.master]
        self.start("org.apache.spark.deploy.worker.Worker", *words)
        return number

    def start(self, program: str, *words: str) -> None:
        python = Path(self.environment["PYSPARK_PYTHON"])
        home = next(python.parents[1].glob("lib/python*/site-packages/pyspark"))
        with (self.folder / f"log-{len(self.processes)}.txt").open("wb") as log:
            started = subprocess.Popen(
                [str(home / "bin" / "spark-class"), program, *words],
                env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(started)

    def kill(self, number: int) -> None:
        """As the kernel does it: the worker and what it runs."""
        os.killpg(self.processes[number].pid, signal.SIGKILL)
        self.processes[number].wait()


@contextmanager
def standalone_cluster(folder: Path, environment: dict[str, str], workers: int) -> Iterator[Cluster]:
    """A master with so many workers of a core each."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    cluster = Cluster(folder, environment, port)
    try:
        words = ["--host", HOST, "--port", str(port), "--webui-port", "0"]
        cluster.start("org.apache.spark.deploy.master.Master", *words)
        wait_until_it_listens(cluster.processes[0], port)
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        for each in cluster.processes:
            if each.poll() is None:
                os.killpg(each.pid, signal.SIGKILL)
                each.wait()
