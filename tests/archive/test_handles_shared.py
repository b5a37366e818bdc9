"""One name, one handle: also where two processes register it at the same time."""

import threading
from dataclasses import dataclass

import pytest
from sqlalchemy import func, select

from tests.archive.keeping import Between, Keeping
from tests.housing import SetClock
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import Keyring, org_secret
from textkeep.archive.organisations import Organisations
from textkeep.archive.sealing import Sealer
from textkeep.errors import Unsound
from textkeep.store.engine import Store
from textkeep.store.tables import orgs, persons

NAME = "Ærø Dental & Söhne, org-canary-0001"
PERSON = "os:canary-person-0001"


@dataclass
class Process:
    """What one process has of organisations and persons."""

    store: Store
    between: Between
    keyring: Keyring
    organisations: Organisations
    persons: Persons

    @classmethod
    def start(cls, store: Store, keeping: Keeping, clock: SetClock) -> "Process":
        between = Between(keeping.store())
        keyring = Keyring.open(between, keeping.root(), create=True)
        sealer = Sealer(keyring)
        organisations = Organisations(store, keyring, sealer, clock)
        with store.reading() as connection:
            organisations.load(connection)
        return cls(store, between, keyring, organisations, Persons(keyring, sealer))


@pytest.fixture
def pair(store: Store, sql_keeping: Keeping, clock: SetClock) -> tuple[Process, Process]:
    """Two processes on one database and one keyring."""
    return Process.start(store, sql_keeping, clock), Process.start(store, sql_keeping, clock)


def count(store: Store) -> int:
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(orgs)).scalar_one())


def test_an_organisation_that_another_process_has_registered_has_its_handle_here(pair: tuple[Process, Process]) -> None:
    one, other = pair
    handle = one.organisations.register(NAME)
    assert other.organisations.find(NAME) is None
    assert other.organisations.register(NAME) == other.organisations.find(NAME) == handle
    assert other.organisations.name(handle) == NAME
    assert count(one.store) == 1
    if one.store.shared:  # it looks before it makes a secret that nobody needs
        assert other.keyring.names() == {"house", org_secret(handle)}


def test_a_refresh_brings_what_other_processes_have_registered(pair: tuple[Process, Process]) -> None:
    one, other = pair
    known = {name: one.organisations.register(name) for name in (NAME, "second", "third")}
    other.organisations.register("third")
    with other.store.reading() as connection:
        other.organisations.refresh(connection)
        other.organisations.refresh(connection)
    assert other.organisations.all() == known
    assert other.organisations.knows(known["second"])


def test_a_refresh_refuses_an_organisation_whose_secret_is_another(pair: tuple[Process, Process]) -> None:
    one, other = pair
    one.organisations.register(NAME)
    with one.store.transaction() as connection:
        connection.execute(orgs.update().values(commitment=bytes(32)))
    with other.store.reading() as connection, pytest.raises(Unsound):
        other.organisations.refresh(connection)


def test_the_slower_of_two_who_register_one_name_gets_the_handle_of_the_quicker(pair: tuple[Process, Process]) -> None:
    """Its own secret is made by then, and stays unused."""
    one, late = pair
    handles = []

    def register(call: str) -> None:
        if call == "swap":
            late.between.before = lambda _call: None
            handles.append(one.organisations.register(NAME))

    late.between.before = register
    handles.append(late.organisations.register(NAME))
    assert handles[0] == handles[1] == late.organisations.find(NAME)
    assert count(one.store) == 1
    assert late.keyring.commitment(org_secret(handles[0])) == one.keyring.commitment(org_secret(handles[0]))
    assert len(late.keyring.names()) == 3


def test_many_processes_that_register_the_same_names_at_once_agree(
    store: Store, sql_keeping: Keeping, clock: SetClock
) -> None:
    names = [f"org-{number}" for number in range(5)]
    processes = [Process.start(store, sql_keeping, clock) for _ in range(4)]
    found: list[dict[str, bytes]] = []

    def register(process: Process) -> None:
        found.append({name: process.organisations.register(name) for name in names})

    threads = [threading.Thread(target=register, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(each == found[0] for each in found)
    assert count(store) == len(names)
    assert Process.start(store, sql_keeping, clock).organisations.all() == found[0]


def test_a_person_named_by_two_transactions_at_once_has_one_handle(pair: tuple[Process, Process]) -> None:
    one, other = pair
    found: list[bytes] = []

    def name() -> None:
        with other.store.transaction() as connection:
            found.append(other.persons.handle_of(connection, PERSON))

    late = threading.Thread(target=name)
    with one.store.transaction() as connection:
        handle = one.persons.handle_of(connection, PERSON)
        late.start()
        late.join(0.3)
    late.join()
    assert found == [handle]
    with one.store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(persons)).scalar_one() == 1
