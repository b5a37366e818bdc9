"""What a test needs: without it the test is skipped aloud, or fails where engines are required."""

import shutil
from typing import NoReturn

import pytest

from tests.engines.sharing import NotThere, Running, Session
from tests.engines.starting import KINDS

SESSION = pytest.StashKey[Session]()


def tool(request: pytest.FixtureRequest, name: str) -> str:
    """The path of a program. Without it the test is skipped, or fails under `--require-engines`."""
    path = shutil.which(name)
    if path is None:
        missing(request, f"{name} is not on this machine: install the package that has it (apt-get install {name})")
    return path


def need(request: pytest.FixtureRequest, kind: str) -> Running:
    """The session's engine of this kind. Without it the test is skipped, or fails under `--require-engines`."""
    try:
        return KINDS[kind].given() or request.config.stash[SESSION].shared(kind, KINDS[kind].start)
    except NotThere as exc:
        missing(request, str(exc))


def missing(request: pytest.FixtureRequest, why: str) -> NoReturn:
    """Skip the test with the reason, or fail it under `--require-engines`."""
    if request.config.getoption("--require-engines"):
        pytest.fail(why)
    pytest.skip(why)
