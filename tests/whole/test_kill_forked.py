"""SIGKILL at any instant loses nothing that was acknowledged, stores nothing twice, and needs nobody's hand."""

import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.housing import NOON, SetClock
from tests.whole.living import living, organisation, register

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("KILL_SEED") or secrets.token_hex(4)
"""Where and when it kills; KILL_SEED=... takes up the one that a failure has named."""

AT_ONCE = 2
"""How many programs kill beside each other."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with one organisation and the time of its last minute, at noon."""
    folder = tmp_path_factory.mktemp("prepared")
    with living(folder / "archive", SetClock(NOON)) as life:
        life.archive.mark.tick()
        register(life.archive, [organisation()])
    return folder


def kill(prepared: Path, folder: Path, kills: int) -> Counter[str]:
    """Kill that many forked children, and give what there was to be lost."""
    print(f"KILL_SEED={SEED}")
    programs = []
    for number in range(AT_ONCE):
        base = folder / str(number)
        base.mkdir()
        words = [str(prepared), str(base), str(kills // AT_ONCE), f"{SEED}-{number}"]
        command = [sys.executable, "-m", "tests.whole.killing", *words]
        programs.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    total: Counter[str] = Counter()
    for program in programs:
        printed, complained = program.communicate()
        assert program.returncode == 0, complained.decode()[-4000:]
        told: dict[str, Any] = json.loads(printed)
        total.update(told)
    print(dict(total))
    return total


def check_total(total: Counter[str], kills: int) -> None:
    """There was something to be lost at each kill, and each kind of work was met."""
    assert total["kills"] == kills
    assert total["accepted"] > 5 * kills
    assert total["quarantined"] > kills
    assert total["purged"] > kills / 5
    assert total["organisations"] > kills / 5
    assert total["duplicate"] > 0, "no kill came between a commit and its receipt"


def test_200_kills_of_a_child_that_loads_indexes_registers_and_purges(prepared: Path, tmp_path: Path) -> None:
    check_total(kill(prepared, tmp_path, 200), 200)


@pytest.mark.soak
def test_5000_kills_of_a_child_that_loads_indexes_registers_and_purges(prepared: Path, tmp_path: Path) -> None:
    check_total(kill(prepared, tmp_path, 5000), 5000)
