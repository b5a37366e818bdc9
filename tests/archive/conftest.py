"""A place for a keyring, by every driver there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive.keeping import Keeping
from tests.archive.rooting import KINDS, Rooting, rooting
from textkeep.archive.drivers.keyring_sql import SqlStore


@pytest.fixture
def sql_keeping(postgres: str, tmp_path: Path) -> Iterator[Keeping]:
    """A place in a database, prepared, without a keyring yet."""
    store = SqlStore(postgres)
    store.prepare()
    store.close()
    place = Keeping("sql", tmp_path / "keyring", postgres)
    yield place
    place.close()


@pytest.fixture(params=["file", "sql"])
def keeping(request: pytest.FixtureRequest, tmp_path: Path) -> Keeping:
    """A place without a keyring yet, by each driver."""
    if request.param == "sql":
        place: Keeping = request.getfixturevalue("sql_keeping")
        return place
    return Keeping("file", tmp_path / "keyring", "")


@pytest.fixture(params=KINDS)
def roots(request: pytest.FixtureRequest, tmp_path: Path) -> Rooting:
    """Roots of every kind."""
    return rooting(request, request.param, tmp_path / "every-root")
