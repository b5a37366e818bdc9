"""Organisations and people by handle: found again, sealed, and never without their secret."""

import sqlite3
import threading

import pytest
from sqlalchemy import Connection, inspect, select, text, update

from tests.housing import House
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import SecretMissing
from textkeep.archive.organisations import Organisations
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.text import HOUSE, Handle
from textkeep.errors import NotFound, Outage, Unsound
from textkeep.store.engine import Store
from textkeep.store.tables import orgs, persons

NAME = "Ærø Dental & Söhne, org-canary-0001"
PERSON = "os:canary-person-0001"


def loaded(house: House) -> Organisations:
    again = Organisations(house.store, house.keyring, house.sealer, house.clock)
    with house.store.reading() as connection:
        again.load(connection)
    return again


def every_byte(store: Store) -> bytes:
    """The whole database, wherever it lies; on PostgreSQL every value of every table."""
    with store.transaction() as connection:
        if store.dialect == "postgresql":
            tables = [text(f'SELECT * FROM "{name}"') for name in inspect(connection).get_table_names()]  # noqa: S608
            values = [value for table in tables for row in connection.execute(table) for value in row]
            return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        connection.exec_driver_sql("COMMIT")
        whole = raw.serialize()
        connection.exec_driver_sql("BEGIN")
    return whole


def test_an_organisation_keeps_its_handle(house: House) -> None:
    handle = house.organisations.register(NAME)
    other = house.organisations.register(NAME + ".")
    assert house.organisations.register(NAME) == house.organisations.find(NAME) == handle != other
    assert (len(handle), house.organisations.name(handle)) == (8, NAME)
    assert house.organisations.all() == loaded(house).all() == {NAME: handle, NAME + ".": other}
    assert HOUSE not in (handle, other)


def test_nobody_is_found_who_was_not_registered(house: House) -> None:
    house.organisations.register(NAME)
    assert [house.organisations.find(name) for name in ("", NAME.lower(), f"{NAME} ")] == [None, None, None]
    for handle in (HOUSE, Handle(b"nobody!!")):
        with pytest.raises(NotFound):
            house.organisations.name(handle)


def test_a_list_handed_out_does_not_change_the_register(house: House) -> None:
    house.organisations.all()["made up"] = HOUSE
    assert house.organisations.find("made up") is None


def test_no_name_is_readable_in_the_database(house: House) -> None:
    house.organisations.register(NAME)
    with house.store.transaction() as connection:
        house.persons.handle_of(connection, PERSON)
    whole = every_byte(house.behind)
    for name in (NAME, PERSON):
        for form in (name.encode(), name.encode().hex().encode(), name.encode("utf-16-le")):
            assert form not in whole


def test_the_secret_is_on_disk_before_the_row(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Outage("the database does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "execute", full)
        with pytest.raises(Outage):
            house.organisations.register(NAME)
    assert house.organisations.find(NAME) is None
    assert loaded(house).all() == {}
    handle = house.organisations.register(NAME)
    assert house.reopened().organisations.all() == {NAME: handle}


def test_many_who_register_one_organisation_at_once_get_one_handle(house: House) -> None:
    handles: list[Handle] = []
    threads = [threading.Thread(target=lambda: handles.append(house.organisations.register(NAME))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(handles) == 8
    assert set(handles) == {house.organisations.find(NAME)}


def test_the_start_is_refused_where_an_organisation_s_secret_is_missing_or_another(house: House) -> None:
    ring = house.folder / "ring"
    before = ring.read_bytes()
    handle = house.organisations.register(NAME)
    after = ring.read_bytes()
    ring.write_bytes(before)
    with pytest.raises(SecretMissing):
        house.reopened()
    ring.write_bytes(after)
    assert house.reopened().organisations.find(NAME) == handle
    with house.behind.transaction() as connection:
        connection.execute(update(orgs).values(commitment=bytes(32)))
    with pytest.raises(Unsound) as caught:
        house.reopened()
    assert "Restore the keyring" in caught.value.remedy
    assert NAME not in str(caught.value)


def test_the_start_is_refused_where_a_name_was_altered_or_moved(house: House) -> None:
    one, other = house.organisations.register(NAME), house.organisations.register("other")
    with house.behind.transaction() as connection:
        sealed = connection.execute(select(orgs.c.sealed).where(orgs.c.handle == other)).scalar_one()
        connection.execute(update(orgs).where(orgs.c.handle == one).values(sealed=sealed))
    with pytest.raises(CannotOpen):
        loaded(house)


def test_a_person_keeps_their_handle(house: House) -> None:
    with house.store.transaction() as connection:
        handle = house.persons.handle_of(connection, PERSON)
        assert house.persons.handle_of(connection, PERSON) == handle
        assert house.persons.handle_of(connection, PERSON + ".") != handle
    again = Persons(house.keyring, house.sealer)
    with house.store.reading() as connection:
        assert (len(handle), again.handle_of(connection, PERSON)) == (8, handle)
        assert again.name_of(connection, handle) == PERSON


def test_a_person_and_an_organisation_of_one_name_have_nothing_in_common(house: House) -> None:
    org = house.organisations.register(NAME)
    with house.store.transaction() as connection:
        person = house.persons.handle_of(connection, NAME)
        lookups = [connection.execute(select(table.c.lookup)).scalar_one() for table in (orgs, persons)]
        with pytest.raises(NotFound):
            house.persons.name_of(connection, org)
    assert person != org
    assert lookups[0] != lookups[1]


def test_a_person_whose_name_was_moved_is_not_named(house: House) -> None:
    with house.behind.transaction() as connection:
        one, other = (house.persons.handle_of(connection, name) for name in (PERSON, "other"))
        sealed = connection.execute(select(persons.c.sealed).where(persons.c.handle == other)).scalar_one()
        connection.execute(update(persons).where(persons.c.handle == one).values(sealed=sealed))
        with pytest.raises(CannotOpen):
            house.persons.name_of(connection, one)


def test_a_person_made_in_a_transaction_that_fails_does_not_exist(house: House) -> None:
    made: list[bytes] = []

    def fail() -> None:
        with house.store.transaction() as connection:
            made.append(house.persons.handle_of(connection, PERSON))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with house.store.reading() as connection, pytest.raises(NotFound):
        house.persons.name_of(connection, made[0])
