"""Real processes on one keyring: they race, they are killed, they are cut off."""

import os
import random
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from tests.archive.keeping import NOW, Child, Keeping, child
from textkeep.archive.keyring import SecretDestroyed, SecretMissing
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE
from textkeep.errors import Outage, Unsound
from textkeep.search.tokens import Tokens

Say = Callable[[str], None]

KILLED = 25


def running(work: Callable[[Say, int], None], count: int) -> list[list[str]]:
    """What `count` processes said that did this work at the same time, until each had ended."""
    with ExitStack() as started:
        children: list[Child] = []
        for number in range(count):

            def one(say: Say, number: int = number) -> None:
                work(say, number)

            children.append(started.enter_context(child(one)))
        said = [each.lines() for each in children]
    assert not [line for lines in said for line in lines if line.startswith("died")]
    return said


def agreed(said: list[list[str]]) -> dict[str, str]:
    """The commitment of each secret, which all who named it say alike."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in (line for lines in said for line in lines):
        name, _, commitment = line.partition(" ")
        found[name].add(commitment)
    assert {len(commitments) for commitments in found.values()} == {1}
    return {name: commitments.pop() for name, commitments in found.items()}


def test_processes_that_start_together_on_nothing_make_one_keyring(sql_keeping: Keeping) -> None:
    def start(say: Say, number: int) -> None:
        keyring = sql_keeping.opened(keeps=number % 2 == 0)
        say(f"house {keyring.commitment('house').hex()}")

    for _ in range(5):
        known = agreed(running(start, 4))
        keyring = sql_keeping.opened(create=False)
        assert known == {"house": keyring.commitment("house").hex()}
        assert sql_keeping.known_roots() == {keyring.status().root}
        sql_keeping.clear()


def test_processes_that_make_the_same_secrets_agree_on_each(sql_keeping: Keeping) -> None:
    sql_keeping.opened()

    def make(say: Say, number: int) -> None:
        keyring = sql_keeping.opened(create=False, keeps=False)
        for step in range(8):
            names = [f"shelf:all-{step}", f"shelf:own-{number}-{step}"]
            keyring.make(names)
            for name in names:
                say(f"{name} {keyring.commitment(name).hex()}")

    known = agreed(running(make, 4))
    assert len(known) == 8 + 4 * 8
    keyring = sql_keeping.opened(create=False)
    assert {name: keyring.commitment(name).hex() for name in known} == known
    assert keyring.names() == {*known, "house"}


def test_processes_that_make_and_destroy_at_once_lose_nothing_and_revive_nothing(sql_keeping: Keeping) -> None:
    """Two that destroy, two that make, and one that starts again and again and finishes what it sees."""
    days = [f"shelf:day-{number}" for number in range(12)]
    sql_keeping.opened().make(days)

    def work(say: Say, number: int) -> None:
        keyring = sql_keeping.opened(create=False, keeps=number not in (2, 3))
        if number < 2:
            for day in days[number::2]:
                say(f"{day} {keyring.destroy(day, entry='1', now=NOW).commitment.hex()}")
        elif number < 4:
            for step in range(12):
                name = f"shelf:new-{number}-{step}"
                keyring.make([name, f"shelf:both-{step}"])
                say(f"{name} {keyring.commitment(name).hex()}")
        else:
            for _ in range(12):
                sql_keeping.opened(create=False)

    known = agreed(running(work, 5))
    keyring = sql_keeping.opened(create=False)
    assert keyring.tombstones().keys() == set(days)
    new = {f"shelf:new-{number}-{step}" for number in (2, 3) for step in range(12)}
    assert keyring.names() == {"house", *new, *(f"shelf:both-{step}" for step in range(12))}
    assert {name: keyring.commitment(name).hex() for name in known} == known
    assert sql_keeping.known_roots() == {keyring.status().root}


def test_no_process_opens_anything_once_it_has_confirmed_the_ring_without_the_secret(sql_keeping: Keeping) -> None:
    keyring = sql_keeping.opened()

    def use(say: Say) -> None:
        other = sql_keeping.opened(create=False, keeps=False)
        sealer, tokens = Sealer(other), Tokens(other)
        shelf = "day-0"
        say("ready")
        while True:
            generation = other.refresh()
            for each in range(3):
                try:
                    sealer.seal("body", shelf, HOUSE, [], b"")
                    tokens.of(shelf, HOUSE)
                except SecretDestroyed:
                    say(f"{generation} gone {shelf}")
                    shelf = f"day-{int(shelf[4:]) + 1}"
                    break
                except SecretMissing:
                    break
                say(f"{generation} used {shelf} {each}")

    with child(use) as one, child(use) as other:
        one.until("ready"), other.until("ready")
        for number in range(6):
            keyring.make([f"shelf:day-{number}"])
            for each in (one, other):
                line = each.until("").split()
                while line[1:3] != ["used", f"day-{number}"]:
                    line = each.line().split()
            keyring.destroy(f"shelf:day-{number}", entry="1", now=NOW)
            generation = keyring.status().generation
            for each in (one, other):
                while True:
                    confirmed, what, shelf, *_ = each.line().split()
                    assert shelf == f"day-{number}"
                    if what == "gone":
                        assert int(confirmed) <= generation
                        break
                    assert int(confirmed) < generation


@contextmanager
def gate(url: str) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """An address that leads to the same database until it is shut, and again once it is opened."""
    target = make_url(url)
    there = (target.host or "127.0.0.1", target.port or 5432)
    links: list[socket.socket] = []
    shut = threading.Event()

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with source, sink, suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            if shut.is_set():
                near.close()
                continue
            far = socket.create_connection(there)
            links.extend((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    def cut() -> None:
        shut.set()
        for link in links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        links.clear()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        port = listening.getsockname()[1]
        yield target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False), cut, shut.clear
        cut()
        listening.shutdown(socket.SHUT_RDWR)


def refresh_and_use(place: Keeping, say: Say) -> None:
    """Without end: when a use of the secret began, and how it ended."""
    keyring = place.opened(create=False, keeps=False, lease=timedelta(seconds=1))
    sealer = Sealer(keyring)
    while True:
        with suppress(Outage):
            keyring.refresh()
        began = time.monotonic()
        try:
            sealer.seal("body", "old", HOUSE, [], b"")
        except Outage as outage:
            say(f"{began} refused {outage.retry_after}")
        except SecretDestroyed:
            say(f"{began} gone")
        else:
            say(f"{began} served")


def test_a_process_cut_off_from_the_keyring_serves_nothing_after_its_lease(sql_keeping: Keeping) -> None:
    sql_keeping.opened().make(["shelf:old", "shelf:older"])
    with gate(sql_keeping.url) as (url, cut, heal):
        behind = Keeping("sql", sql_keeping.folder, url)
        with child(lambda say: refresh_and_use(behind, say)) as other:
            assert other.line().endswith("served")
            cut()
            ended = time.monotonic() + 1
            sql_keeping.opened(create=False).destroy("shelf:older", entry="1", now=NOW)
            late: list[str] = []
            while len(late) < 50:
                began, *how = other.line().split()
                late += how[:1] if float(began) > ended else []
            assert set(late) == {"refused"}
            heal()
            while other.line().split()[1] != "served":
                pass
            cut()
            sql_keeping.opened(create=False).destroy("shelf:old", entry="1", now=NOW)
            destroyed = time.monotonic()
            heal()
            how = ["served"]
            while how[0] != "gone":
                began, *how = other.line().split()
                assert how[0] != "served" or float(began) < destroyed + 1


def change_until_killed(place: Keeping, say: Say, seed: int) -> None:
    """Make and destroy without end, and tell what is done once it is done."""
    chance = random.Random(seed)
    keyring = place.opened()
    say("ready")
    for number in range(1_000_000):
        shelves = sorted(name for name in keyring.names() if name.startswith(f"shelf:day-{seed % 2}"))
        if shelves and chance.random() < 0.5:
            name = chance.choice(shelves)
            say(f"destroying {name}")
            keyring.destroy(name, entry="1", now=NOW)
            say(f"destroyed {name}")
        else:
            name = f"shelf:day-{seed % 2}-{seed}-{number}"
            keyring.make([name])
            say(f"made {name} {keyring.commitment(name).hex()}")


def test_processes_killed_at_random_instants_beside_each_other_lose_nothing(
    sql_keeping: Keeping, tmp_path: Path
) -> None:
    kept = {"house": sql_keeping.opened().commitment("house").hex()}
    begun: set[str] = set()
    gone: set[str] = set()
    chance = random.Random(401)
    for turn in range(KILLED):
        copy = sql_keeping.copy(tmp_path / f"copy-{turn}")
        said: list[str] = []
        with ExitStack() as started:
            children = []
            for seed in (2 * turn, 2 * turn + 1):

                def work(say: Say, seed: int = seed) -> None:
                    change_until_killed(sql_keeping, say, seed)

                children.append(started.enter_context(child(work)))
            for each in children:
                for _ in range(chance.randrange(1, 6)):
                    said.append(each.line())
            for each in children:
                os.kill(each.pid, 9)
                said += each.lines()
        assert not [line for line in said if line.startswith("died")]
        for line in said:
            what, *about = line.split()
            if what == "made" and len(about) == 2 and len(about[1]) == 64:
                kept[about[0]] = about[1]
            elif what == "destroying":
                begun |= set(about)
            elif what == "destroyed":
                gone |= set(about)
        keyring = sql_keeping.opened(create=False)
        stones = keyring.tombstones().keys()
        assert gone <= stones <= begun
        assert not stones & keyring.names()
        assert {name: keyring.commitment(name).hex() for name in kept} == kept
        assert {name for name in kept if name not in stones} <= keyring.names()
        assert sql_keeping.known_roots() == {keyring.status().root}
        if keyring.status().root not in {path.name for path in copy.roots.iterdir()}:
            with pytest.raises(Unsound, match="root key"):
                copy.opened(sql_keeping.roots, tmp_path / "now")
    assert len(gone) > 5


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_after_a_destruction_and_a_refresh_everywhere_no_cached_key_opens_anything(
    sql_keeping: Keeping, data: st.DataObject
) -> None:
    sql_keeping.clear()
    users = [sql_keeping.opened(keeps=keeps) for keeps in (True, False, True)]
    caches = [(user, Sealer(user), Tokens(user)) for user in users]
    sealed: dict[str, bytes] = {}
    gone: set[str] = set()
    for _ in range(data.draw(st.integers(1, 12), "steps")):
        user, sealer, tokens = data.draw(st.sampled_from(caches), "who")
        shelf = data.draw(st.sampled_from("abc"), "shelf")
        act = data.draw(st.sampled_from(["make", "use", "use", "destroy", "refresh"]), "what")
        try:
            if act == "make":
                user.make([f"shelf:{shelf}"])
            elif act == "use":
                sealed[shelf] = sealer.seal("body", shelf, HOUSE, [], shelf.encode())
                tokens.of(shelf, HOUSE)
            elif act == "refresh":
                user.refresh()
            elif user in (users[0], users[2]):
                user.destroy(f"shelf:{shelf}", entry="1", now=NOW)
                gone.add(shelf)
        except (SecretMissing, SecretDestroyed):
            continue
    for user, sealer, tokens in caches:
        user.refresh()
        for shelf in sealed:
            if shelf not in gone:
                assert sealer.open("body", shelf, HOUSE, [], sealed[shelf]) == shelf.encode()
                continue
            with pytest.raises(SecretDestroyed):
                sealer.open("body", shelf, HOUSE, [], sealed[shelf])
            with pytest.raises(SecretDestroyed):
                tokens.of(shelf, HOUSE)
        kept = {name[1] for name in [*user._derived, *sealer._ciphers]} | {name[0] for name in tokens._shelves}
        assert not kept & gone
    assert sql_keeping.known_roots() >= {users[0].status().root}
