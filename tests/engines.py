"""What a test needs of the machine: a tool that is missing is a loud skip, or a failure where engines are required."""

import shutil

import pytest


def tool(request: pytest.FixtureRequest, name: str) -> str:
    """The path of a program. Without it the test is skipped, or fails under `--require-engines`."""
    path = shutil.which(name)
    if path is not None:
        return path
    missing = f"{name} is not on this machine: install the package that has it (on Debian: apt-get install {name})"
    if request.config.getoption("--require-engines"):
        pytest.fail(missing)
    pytest.skip(missing)
