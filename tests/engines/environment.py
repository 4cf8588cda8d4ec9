"""An environment with Spark, made when a test first asks for it: 450 MB that the lock of everyone does not hold.

It is a layer: Spark by its own hashed lock, everything else from the environment that runs the tests. Kept in
benchmarks/out, which no commit holds, under the lock's hash.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.waiting import turn

ROOT = Path(__file__).resolve().parents[2]
LOCK = Path(__file__).with_name("requirements-spark.lock")
KEPT = ROOT / "benchmarks" / "out" / "environments"
CONFIGURATION = {
    "spark.executor.memory": "512m",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def spark_python() -> Path:
    """The interpreter of the environment."""
    key = hashlib.sha256(LOCK.read_bytes() + sys.executable.encode() + sys.version.encode()).hexdigest()[:12]
    folder = KEPT / f"spark-{key}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists():
        return python
    KEPT.mkdir(parents=True, exist_ok=True)
    with turn(KEPT / f"spark-{key}.lock"):  # tests run side by side, and each would make it
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that was stopped
            _make(folder, python)
            ready.touch()
    return python


def _make(folder: Path, python: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "layer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    if uv := shutil.which("uv"):
        installer = [uv, "pip", "install", "--python", str(python), "--quiet"]
    else:
        installer = [_with_pip(), "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "-qq"]
        installer += ["--ignore-installed", "--no-deps"]
    subprocess.run([*installer, "--require-hashes", "-r", str(LOCK)], check=True)


def _with_pip() -> str:
    """An interpreter that has pip: this one need not."""
    for each in (sys.executable, shutil.which("python3"), str(Path(sys.base_prefix) / "bin" / "python3")):
        if each and subprocess.run([each, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return each
    raise RuntimeError("no pip and no uv to install Spark with; install one of them")


def spark_environment(folder: Path) -> dict[str, str]:
    """The variables for a process that uses Spark on this machine alone; its workers write into `folder`."""
    configuration = folder / "spark"
    configuration.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} {value}\n" for name, value in CONFIGURATION.items()]
    (configuration / "spark-defaults.conf").write_text("".join(lines))
    _require_java()
    return {
        **os.environ,
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # machines that live for seconds
        "SPARK_CONF_DIR": str(configuration),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(configuration / "local"),
        "SPARK_WORKER_DIR": str(configuration / "work"),
        "SPARK_LOG_DIR": str(configuration / "logs"),
        "PYSPARK_PYTHON": str(spark_python()),
        "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"),  # nbconvert's templates are no modules
    }


def _require_java() -> None:
    if shutil.which("java") or os.environ.get("JAVA_HOME"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-q", "openjdk-17-jre-headless"], check=True, capture_output=True)
        return
    raise RuntimeError("Java is not installed; install it (Debian, Ubuntu: apt-get install openjdk-17-jre-headless)")
