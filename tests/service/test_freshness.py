"""What one process changes is known to the others: two archives on one database, as two processes have them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import make_url, select

from tests.housing import NOON, SetClock, event
from tests.service.many import Shared, sharing
from textkeep.access.principal import LOCAL, Principal
from textkeep.archive.shelf import RETENTION
from textkeep.directory.directory import Directory
from textkeep.directory.records import Location, Org, User
from textkeep.errors import Unauthenticated
from textkeep.service.wiring import Archive
from textkeep.store.tables import directory as rows

Two = tuple[Archive, Archive]


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with sharing(request, tmp_path_factory.mktemp("fresh") / "a") as made:
        yield made


@pytest.fixture(scope="module")
def clock() -> SetClock:
    return SetClock(NOON)


@pytest.fixture(scope="module")
def two(shared: Shared, clock: SetClock) -> Iterator[Two]:
    with (
        closing(Archive.open(shared.service, clock, parts={"api"})) as one,
        closing(Archive.open(shared.service, clock, parts={"api"})) as other,
    ):
        yield one, other


def org(name: str) -> Org:
    made: dict[str, Any] = {"customer_type": "enterprise", "calling_plan": "US", "add_on": True}
    return Org(org_id=name, **made, campaign_registered=True, healthcare=False)


def location(name: str) -> Location:
    return Location(org_id=name, location_id="l", country="US", pstn="cisco", texting=True)


def user(name: str, key: str, number: int, since: datetime | None = None) -> User:
    made: dict[str, Any] = {"location_id": "l", "texting": "default", "app_version": "44.6", "since": since}
    return User(org_id=name, user_id=key, number=f"+1212555{number:04d}", **made)


def put(archive: Archive, name: str, *users: User) -> None:
    archive.directory.put_all([org(name), location(name), *users])


def number_at(directory: Directory, name: str, key: str, moment: datetime) -> str | None:
    facts = directory.as_of(name, key, moment)
    return None if facts is None or facts.user is None else facts.user.number


def stored(archive: Archive) -> list[tuple[datetime, datetime | None]]:
    with archive.store.reading() as connection:
        found = connection.execute(select(rows.c.since, rows.c.until).order_by(rows.c.since, rows.c.id))
        return [(row.since, row.until) for row in found]


def taken(archive: Archive, name: str) -> tuple[int, int]:
    """How many texts of an organisation's user were accepted and set aside."""
    producer = Principal(archive.local.person, LOCAL, frozenset({"producer"}), None)
    wire = event(1, org_id=name, user_id="u", **{"from": "+12125550001"})
    receipt = archive.intake.take(producer, [[json.dumps(wire).encode()]])[0]
    return receipt.accepted, receipt.quarantined


def test_texts_of_an_organisation_that_another_process_registered_are_never_unknown(two: Two) -> None:
    one, other = two
    assert taken(other, "org-quick") == (0, 1)
    put(one, "org-quick", user("org-quick", "u", 1))
    assert taken(other, "org-quick") == (1, 0)


def test_only_what_is_new_is_loaded(two: Two) -> None:
    one, other = two
    put(one, "org-many", *(user("org-many", f"u-{number}", number) for number in range(300)))
    other.directory.refresh()
    before = other.sealer.operations()["open"]
    other.directory.refresh()
    assert other.sealer.operations()["open"] == before
    put(one, "org-many", user("org-many", "u-301", 301))
    other.directory.refresh()
    assert other.sealer.operations()["open"] == before + 1
    assert number_at(other.directory, "org-many", "u-301", NOON) == "+12125550301"


def test_a_record_that_was_corrected_is_not_known_as_it_was(two: Two) -> None:
    one, other = two
    began = NOON - timedelta(days=3)
    put(one, "org-wrong", user("org-wrong", "u", 1, began))
    other.directory.refresh()
    put(one, "org-wrong", user("org-wrong", "u", 2, began))
    other.directory.refresh()
    assert number_at(other.directory, "org-wrong", "u", NOON) == "+12125550002"


def test_records_put_by_two_processes_at_once_leave_one_history(two: Two) -> None:
    put(two[0], "org-both", user("org-both", "u", 0, NOON - timedelta(days=60)))

    def write(archive: Archive, first: int) -> None:
        for number in range(first, 40, 2):
            since = NOON - timedelta(days=60 - number)
            archive.directory.put_all([user("org-both", "u", number, since)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, two, (1, 2)))
    for archive in two:
        archive.directory.refresh()
        history = [
            number_at(archive.directory, "org-both", "u", NOON - timedelta(days=60 - number, seconds=-1))
            for number in range(40)
        ]
        assert history == [f"+1212555{number:04d}" for number in range(40)]
    with two[0].store.reading() as connection:
        again = Directory(two[0].store, two[0].sealer, two[0].organisations, two[0].clock)
        again.load(connection)
        found = connection.execute(select(rows).order_by(rows.c.since)).all()
    mine = [row for row in found if row.org == again.handle_of("org-both") and row.since < NOON - timedelta(days=20)]
    assert [row.until for row in mine[:-1]] == [row.since for row in mine[1:]]


def test_one_organisation_registered_by_two_processes_at_once_is_one(two: Two) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda archive: put(archive, "org-same", user("org-same", "u", 1)), two))
    handles = set()
    for archive in two:
        archive.directory.refresh()
        handles.add(archive.directory.handle_of("org-same"))
    assert len(handles) == 1
    assert None not in handles


def test_an_interval_that_one_process_dropped_is_forgotten_by_the_others(two: Two, clock: SetClock) -> None:
    one, other = two
    long_ago = NOON - RETENTION - timedelta(days=10)
    put(
        one,
        "org-old",
        user("org-old", "u", 1, long_ago - timedelta(days=9)),
        user("org-old", "u", 2, long_ago),
        user("org-old", "u", 3, NOON - timedelta(days=1)),
    )
    other.directory.refresh()
    assert number_at(other.directory, "org-old", "u", long_ago - timedelta(days=1)) == "+12125550001"
    assert one.directory.drop_ended() == 1
    other.directory.refresh()
    for archive in two:
        assert number_at(archive.directory, "org-old", "u", long_ago - timedelta(days=1)) is None
        assert number_at(archive.directory, "org-old", "u", NOON - timedelta(days=2)) == "+12125550002"
    assert one.directory.drop_ended() == 0


def test_what_was_not_committed_is_not_known(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two
    put(one, "org-undone", user("org-undone", "u", 1))
    before = stored(one)
    with monkeypatch.context() as patch:
        patch.setattr("textkeep.directory.freshness.write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            one.directory.put(user("org-undone", "u", 2))
    assert stored(one) == before
    for archive in two:
        archive.directory.refresh()
        assert number_at(archive.directory, "org-undone", "u", NOON) == "+12125550001"
    other.directory.put(user("org-undone", "u", 3, NOON + timedelta(seconds=1)))
    one.directory.refresh()
    assert number_at(one.directory, "org-undone", "u", NOON + timedelta(seconds=1)) == "+12125550003"


def test_a_token_revoked_by_one_process_is_refused_by_the_others_at_once(two: Two) -> None:
    one, other = two
    secret, token = one.tokens.create(person="alex", roles=["officer"], orgs=None, by=one.local)
    assert other.tokens.authenticate(secret).token == token.id
    one.tokens.revoke(token.id, by=one.local)
    with pytest.raises(Unauthenticated):
        other.tokens.authenticate(secret)


def test_one_person_named_by_two_processes_at_once_has_one_handle(two: Two) -> None:
    def name(archive: Archive) -> list[bytes]:
        found = []
        for number in range(20):
            with archive.store.transaction() as connection:
                found.append(archive.persons.handle_of(connection, f"person {number}"))
        return found

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(name, two)
    assert one == other
    assert len(set(one)) == 20


def test_a_process_that_keeps_no_directory_drops_what_ended_all_the_same(two: Two, shared: Shared) -> None:
    long_ago = NOON - RETENTION - timedelta(days=10)
    put(two[0], "org-kept", user("org-kept", "u", 1, long_ago), user("org-kept", "u", 2, long_ago + timedelta(days=1)))
    with closing(Archive.open(shared.service, SetClock(NOON), parts={"keep"}, kind="keep")) as keeper:
        assert keeper.directory.drop_ended() == 1


def test_the_doctor_knows_the_processes_there_are(shared: Shared) -> None:
    with closing(Archive.open(shared.service, parts={"follow"}, kind="follow")) as follower:
        follower.start()
        found = {finding.check: finding for finding in follower.examine()}
    assert "1 follow" in found["processes"].what
    assert found["database role"].verdict == "ok"
    assert found["keyring and data apart"].verdict == "warn"
    assert found["index engine"].verdict == "warn"
    password = make_url(shared.service.database).password
    assert password is not None
    assert password not in repr(found)
