"""An archive on a server that one process has to itself: what becomes of that process when another one has it."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from textkeep.archive.text import HOUSE
from textkeep.clock import system_clock
from textkeep.errors import Outage
from textkeep.service import wiring
from textkeep.service.folder import Held
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive
from textkeep.store.tables import leases

PATIENCE = 60


def test_a_process_that_another_one_took_over_from_opens_nothing_more(postgres: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", database_url=postgres)
    wiring.migrate(settings, None)
    archive = Archive.open(settings)
    try:
        archive.sealer.seal("directory", "house", HOUSE, (), b"plain")
        with archive.store.transaction() as connection:
            assert connection.execute(select(leases.c.name)).scalars().all() == ["alone"]
            taken = {"holder": "another", "until": system_clock() + timedelta(hours=1)}
            connection.execute(update(leases).values(taken))
        until = time.monotonic() + PATIENCE
        while not archive.keyring.lapsed and time.monotonic() < until:
            time.sleep(0.1)
        with pytest.raises(Outage):
            archive.sealer.seal("directory", "house", HOUSE, (), b"plain")
    finally:
        archive.close()


def test_a_second_process_is_refused_while_the_first_one_works(postgres: str, tmp_path: Path) -> None:
    first = Settings(data=tmp_path / "one", database_url=postgres)
    wiring.migrate(first, None)
    archive = Archive.open(first)
    try:
        other = Settings(data=tmp_path / "two", database_url=postgres, keyring_url=f"file://{tmp_path / 'one-keyring'}")
        with pytest.raises(Held):
            Archive.open(other)
    finally:
        archive.close()
