"""Killed at every step of a purge, a release, an integration, a signature and a keyring rewrite: the next process goes
on by itself, and each shelf has one true report whose proof verifies."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.whole.killing_steps import (
    DAY,
    Living,
    Point,
    Prepared,
    Work,
    check_closed,
    check_line,
    kill_each,
    purge,
    sign,
)
from tests.whole.template import few_days
from textkeep.archive.shelf import STATES

SEED = os.environ.get("KILL_SEED") or secrets.token_hex(4)
ONE, KILLS, MANY = 1, 5, 50

Wanted = Callable[[Point], bool]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textkeep.archive.shelves.open_days", few_days)
        return Prepared.build(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(autouse=True)
def _few_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textkeep.archive.shelves.open_days", few_days)


def kill(prepared: Prepared, folder: Path, work: Work, wanted: Wanted, kills: int) -> None:
    points = prepared.points(folder / "whole", work)
    places = [at for at, point in enumerate(points) if wanted(point)]
    assert len(places) > 1, "there is no such point"

    def check(living: Living) -> None:
        if work is purge:
            check_closed(living, prepared)
        else:
            check_line(living)

    kill_each(prepared, folder, work, places, kills, SEED, check)


def in_step(shelf: str, step: str) -> Wanted:
    """The points between the state before and that of the step."""
    before = STATES[STATES.index(step) - 1]
    return lambda point: (point.shelf, point.step) == (shelf, before)


def of_day(step: str) -> Wanted:
    """`intent` is the first step of a run: nothing was told before it."""
    return in_step("" if step == "intent" else DAY.shelf, step)


def of_release(prepared: Prepared, step: str) -> Wanted:
    """It begins when the day is reported."""
    if step == "intent":
        return lambda point: (point.shelf, point.step) == (DAY.shelf, "reported")
    return in_step(prepared.kept, step)


def of_keyring(point: Point) -> bool:
    return point.what == "file" and point.step == "committed"


def of_integration(point: Point) -> bool:
    return point.what == "transaction"


def of_signature(point: Point) -> bool:
    return point.what == "state"


@pytest.mark.parametrize("step", STATES[1:])
def test_a_purge_killed_in_a_step_is_finished_by_the_next_process(
    prepared: Prepared, tmp_path: Path, step: str
) -> None:
    kill(prepared, tmp_path, purge, of_day(step), ONE)


@pytest.mark.parametrize("step", STATES[1:])
def test_a_release_killed_in_a_step_is_finished_by_the_next_process(
    prepared: Prepared, tmp_path: Path, step: str
) -> None:
    kill(prepared, tmp_path, purge, of_release(prepared, step), ONE)


def test_a_keyring_killed_while_it_is_rewritten_opens_and_has_one_root(prepared: Prepared, tmp_path: Path) -> None:
    kill(prepared, tmp_path, purge, of_keyring, KILLS)


@pytest.mark.parametrize("wanted", [of_integration, of_signature])
def test_a_signer_killed_while_it_integrates_or_signs_goes_on_in_one_line(
    prepared: Prepared, tmp_path: Path, wanted: Wanted
) -> None:
    kill(prepared, tmp_path, sign, wanted, KILLS)


@pytest.mark.soak
@pytest.mark.parametrize("step", STATES[1:])
def test_50_kills_in_each_step_of_a_purge_and_of_a_release(prepared: Prepared, tmp_path: Path, step: str) -> None:
    for name, wanted in (("day", of_day(step)), ("release", of_release(prepared, step))):
        (tmp_path / name).mkdir()
        kill(prepared, tmp_path / name, purge, wanted, MANY)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("work", "wanted"),
    [(purge, of_keyring), (sign, of_integration), (sign, of_signature)],
    ids=["ring", "tree", "note"],
)
def test_50_kills_of_a_keyring_rewrite_an_integration_and_a_signature(
    prepared: Prepared, tmp_path: Path, work: Work, wanted: Wanted
) -> None:
    kill(prepared, tmp_path, work, wanted, MANY)
