"""What marks entries goes with a store's connections, and changes nothing else about them."""

import hmac
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

from textkeep.errors import Outage, Unsound
from textkeep.ledger import log
from textkeep.ledger.edge import EMPTY
from textkeep.ledger.integrating import integrate, not_signed
from textkeep.ledger.tiles import Stored
from textkeep.store.engine import Store
from textkeep.store.marks import Marks, carried
from textkeep.store.tables import ledger_entries

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def mac(message: bytes) -> bytes:
    return hmac.digest(b"the key" * 4, message, "sha256")


def write(store: Store, *days: int) -> None:
    with store.transaction() as connection:
        log.append_all(connection, [("missed-run", {"day": f"2026-11-{day}"}, None) for day in days], NOW)


def integrated(store: Store) -> int:
    with store.transaction() as connection:
        return integrate(connection, EMPTY, not_signed(connection, EMPTY.size), Stored(connection)).edge.size


def test_entries_are_marked_and_readers_see_snapshots_as_before(store: Store) -> None:
    store.mark_with(Marks(mac))
    write(store, 20, 21)
    with store.reading() as connection:
        marks = carried(connection)
        assert marks is not None
        rows = connection.execute(select(ledger_entries)).all()
        assert [marks.wrote(row.entry, row.mark) for row in rows] == [True, True]
        assert not marks.wrote(rows[0].entry, rows[1].mark)
        if store.shared:
            assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "repeatable read"
    with pytest.raises(Outage), store.reading() as connection:
        connection.execute(text("DELETE FROM notes"))
    assert integrated(store) == 2


def test_only_the_first_entries_and_only_so_many_as_there_were_need_no_mark(store: Store) -> None:
    write(store, 20, 21)
    store.mark_with(Marks(mac, lambda: 2))
    assert integrated(store) == 2
    store.mark_with(Marks(mac, lambda: 1))
    with pytest.raises(Unsound, match="entry 2 of the ledger was not written by this service"):
        integrated(store)
