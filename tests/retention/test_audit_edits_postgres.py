"""100 random edits of a PostgreSQL database by its superuser: an audit finds each one."""

from collections.abc import Iterator

import pytest

from tests.engines.databases import Prepared
from tests.housing import NOON, House, SetClock
from tests.retention.audited import Audited, few_days, live
from tests.retention.finding import SEED, find_edits, undone
from textkeep.store.engine import Store

EDITS = 100


@pytest.fixture
def edited_house(blank_postgres: Prepared) -> Iterator[tuple[Store, Store]]:
    blank_postgres.baseline.restore()
    stores = Store.open(blank_postgres.database.service), Store.open(blank_postgres.database.owner)
    yield stores
    for store in stores:
        store.close()


def test_random_edits_on_postgresql_are_each_found(
    edited_house: tuple[Store, Store], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, owner = edited_house
    folder = tmp_path_factory.mktemp("audited")
    clock = SetClock(NOON)
    with few_days():
        house = House.build(store, folder / "keyring", clock, behind=owner)
        live(house, folder)
    with owner._writer.connect() as connection:
        outer = connection.begin()
        audit, inside = undone(house, owner, connection, Audited(folder, clock))
        find_edits(audit, inside.edited, range(SEED, SEED + EDITS))
        outer.rollback()
