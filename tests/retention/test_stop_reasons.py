"""Every reason for which a run stops is told to the operator."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from textkeep.retention import guards
from textkeep.retention.purging import purge

DOC = Path(__file__).parents[2] / "docs" / "retention.md"


def reasons_in_source() -> set[str]:
    """The first argument of each `Stop(...)`; one that takes over an error's problem has no constant."""
    trees = [ast.parse(inspect.getsource(module)) for module in (guards, purge)]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    first = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Stop"]
    return {str(argument.value) for argument in first if isinstance(argument, ast.Constant)}


def reasons_in_table() -> list[str]:
    section = DOC.read_text("utf-8").split("## What stops a run", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)


def test_the_table_of_what_stops_a_run_has_every_reason_once() -> None:
    assert sorted(reasons_in_table()) == sorted(reasons_in_source())


@pytest.mark.parametrize("reason", ["clock-behind", "already-running", "interrupted"])
def test_the_source_is_read_for_functions_and_constants(reason: str) -> None:
    assert reason in reasons_in_source()
