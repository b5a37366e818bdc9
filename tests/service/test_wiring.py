"""The archive as it is wired: what is done every hour, what a start heals, what is ready and what is not."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.housing import SetClock, event
from tests.search.strangers import Stranger
from tests.service.many import Shared, sharing
from textkeep.access.principal import LOCAL, Principal
from textkeep.directory.records import Location, Org, Record, User
from textkeep.service.parts import Part
from textkeep.service.settings import Settings
from textkeep.service.state import PURGE
from textkeep.service.wiring import Archive
from textkeep.store.engine import Store
from textkeep.store.tables import directory, texts_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def folder(tmp_path: Path, clock: SetClock) -> Path:
    """An archive with a directory, closed again."""
    (tmp_path / "data").mkdir()
    with closing(Archive.open(Settings(data=tmp_path / "data"), clock)) as opened:
        opened.directory.put_all(RECORDS)
    return tmp_path / "data"


@pytest.fixture
def archive(folder: Path, clock: SetClock) -> Iterator[Archive]:
    with closing(Archive.open(Settings(data=folder), clock)) as opened:
        yield opened


RECORDS: list[Record] = [
    Org(
        kind="org",
        org_id="org-001",
        customer_type="enterprise",
        calling_plan="US",
        add_on=True,
        campaign_registered=True,
        healthcare=False,
    ),
    Location(kind="location", org_id="org-001", location_id="l", country="US", pstn="cisco", texting=True),
]


def user(number: str) -> User:
    return User(
        kind="user",
        org_id="org-001",
        user_id="org-001-user-0001",
        location_id="l",
        number=number,
        texting="default",
        app_version="44.6",
    )


def take(archive: Archive, *bodies: str) -> None:
    producer = Principal(archive.local.person, LOCAL, frozenset({"producer"}), None)
    records = [json.dumps(event(number, body=body)).encode() for number, body in enumerate(bodies)]
    assert archive.intake.take(producer, [records])[0].accepted == len(bodies)


def follow(archive: Archive) -> None:
    while archive.follower.step():
        continue


def rows(archive: Archive) -> int:
    with archive.store.reading() as connection:
        return connection.execute(select(func.count()).select_from(directory)).scalar_one()


def test_an_interval_of_the_directory_goes_400_days_after_it_ended(archive: Archive, clock: SetClock) -> None:
    archive.directory.put_all([user("+12125550101")])
    clock.forward(days=1)
    archive.directory.put_all([user("+12125550102")])
    before = rows(archive)
    clock.forward(days=400, seconds=-1)
    archive.schedule.run()
    assert rows(archive) == before
    clock.forward(seconds=1)
    archive.schedule.run()
    assert rows(archive) == before - 1


def test_a_start_heals_an_index_that_is_not_there_any_more(folder: Path, clock: SetClock) -> None:
    with closing(Archive.open(Settings(data=folder), clock)) as archive:
        take(archive, "tea", "coffee")
        follow(archive)
    for path in folder.rglob("index.db*"):
        path.unlink()
    with closing(Archive.open(Settings(data=folder), clock)) as archive:
        assert archive.vault.oldest_unindexed() is not None
        follow(archive)
        assert archive.vault.oldest_unindexed() is None
        assert archive.follower.missing() == 0


def test_the_doctor_compares_sets_and_not_marks(archive: Archive) -> None:
    take(archive, "tea")
    follow(archive)
    archive.index.drop("2026-11-20")
    assert archive.follower.missing() == 1
    archive.schedule.run()
    assert archive.follower.missing() == 0
    assert archive.vault.oldest_unindexed() is not None


def test_an_overdue_purge_is_shown_where_readiness_is_told(archive: Archive, clock: SetClock) -> None:
    assert archive.readiness()[PURGE] is None
    clock.forward(days=5)
    assert "overdue" in (archive.readiness()[PURGE] or "")


@contextmanager
def shared_archives(
    request: pytest.FixtureRequest, folder: Path, clock: SetClock
) -> Iterator[tuple[Shared, Archive, Archive]]:
    """A process with the API and one that follows."""
    with sharing(request, folder, index=request.getfixturevalue("opensearch")) as shared, ExitStack() as opened:
        parts: tuple[Part, ...] = ("api", "follow")
        api, following = (
            opened.enter_context(closing(Archive.open(shared.service, clock, parts=[part], kind=part)))
            for part in parts
        )
        api.directory.put_all([*RECORDS, user("+12125550101")])
        yield shared, api, following


def test_nobody_waits_for_a_text_that_never_becomes_findable(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock
) -> None:
    with shared_archives(request, tmp_path, clock) as (shared, api, following):
        take(api, "tea")
        with closing(Store.open(shared.owner.database)) as behind, behind.transaction() as connection:
            connection.execute(update(texts_of("2026-11-20")).values(sealed=b"\x01" + bytes(60)))
        assert api.unindexed_since() == clock()
        follow(following)
        assert api.unindexed_since() is None
        assert following.unindexed_since() is None
        (finding,) = (each for each in api.examine() if each.check == "index")
        assert "1 slice(s) hold a text that does not open" in finding.what


def test_the_keeper_compacts_days_that_are_over(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock
) -> None:
    with shared_archives(request, tmp_path, clock) as (shared, api, following):
        producer = Principal(api.local.person, LOCAL, frozenset({"producer"}), None)
        for number in range(4):
            api.intake.take(producer, [[json.dumps(event(number, body="tea")).encode()]])
            follow(following)
        there = Stranger(str(shared.service.index_url))
        assert min(there.segments("2026-11-20")) > 1
        following.schedule.beside()
        assert set(there.segments("2026-11-20")) == {1}
