"""The directory over its store: what is put, what was known when, what is left at rest."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.housing import House
from textkeep.archive.sealing import CannotOpen
from textkeep.directory.directory import Directory
from textkeep.directory.records import Location, Org, Record, User
from textkeep.errors import Conflict, NotFound, Refusal
from textkeep.store.tables import directory as rows

NUMBERS = [f"+1212555010{digit}" for digit in range(10)]


def org(**members: Any) -> Org:
    made: dict[str, Any] = {"org_id": "org-001", "customer_type": "enterprise", "calling_plan": "US", "add_on": True}
    return Org(**made | {"campaign_registered": True, "healthcare": False} | members)


def location(**members: Any) -> Location:
    made: dict[str, Any] = {
        "org_id": "org-001",
        "location_id": "loc-1",
        "country": "US",
        "pstn": "cisco",
        "texting": True,
    }
    return Location(**made | members)


def user(**members: Any) -> User:
    made: dict[str, Any] = {"org_id": "org-001", "user_id": "user-1", "location_id": "loc-1", "number": NUMBERS[0]}
    return User(**made | {"texting": "default", "app_version": "44.6"} | members)


@pytest.fixture
def directory(house: House) -> Directory:
    return Directory(house.store, house.sealer, house.organisations, house.clock)


@pytest.fixture
def filled(directory: Directory) -> Directory:
    """With an organisation, a location and a user."""
    assert directory.put_all([org(), location(), user()]) == ["added", "added", "added"]
    return directory


def reopened(house: House) -> Directory:
    again = house.reopened()
    loaded = Directory(again.store, again.sealer, again.organisations, again.clock)
    with again.store.reading() as connection:
        loaded.load(connection)
    return loaded


def number_at(directory: Directory, house: House, **ago: float) -> str | None:
    facts = directory.as_of("org-001", "user-1", house.clock() - timedelta(**ago))
    assert facts is not None
    return None if facts.user is None else facts.user.number


def count(house: House) -> int:
    with house.store.reading() as connection:
        return len(connection.execute(select(rows)).all())


def test_what_was_put_is_known_and_still_known_after_a_restart(house: House, filled: Directory) -> None:
    for directory in (filled, reopened(house)):
        facts = directory.as_of("org-001", "user-1", house.clock())
        assert facts is not None
        assert (facts.org, facts.location, facts.user) == (org(), location(), user())
        assert facts.handle == house.organisations.find("org-001") == directory.handle_of("org-001")


def test_an_organisation_that_nobody_registered_is_unknown(house: House, filled: Directory) -> None:
    assert filled.as_of("org-002", "user-1", house.clock()) is None
    assert filled.handle_of("org-002") is None
    house.organisations.register("org-002")  # its secret is there, and nothing is known of it
    assert filled.as_of("org-002", "user-1", house.clock()) is None
    assert filled.handle_of("org-002") is None


def test_an_unchanged_record_put_again_changes_nothing(house: House, filled: Directory) -> None:
    house.clock.forward(days=1)
    assert filled.put_all([org(), location(), user()]) == ["unchanged"] * 3
    assert count(house) == 3


def test_a_later_record_ends_the_interval_of_the_one_before(house: House, filled: Directory) -> None:
    house.clock.forward(days=10)
    assert filled.put(user(number=NUMBERS[1])) == "changed"
    house.clock.forward(days=10)
    for directory in (filled, reopened(house)):
        seen = [number_at(directory, house, days=days) for days in (300, 20, 10.001, 10, 0)]
        assert seen == [NUMBERS[0], NUMBERS[0], NUMBERS[0], NUMBERS[1], NUMBERS[1]]


def test_a_user_with_a_beginning_is_unknown_before_it(house: House, filled: Directory) -> None:
    filled.put(user(user_id="user-2", since=house.clock() - timedelta(days=5)))
    before = filled.as_of("org-001", "user-2", house.clock() - timedelta(days=6))
    after = filled.as_of("org-001", "user-2", house.clock() - timedelta(days=5))
    assert before is not None
    assert before.user is None
    assert after is not None
    assert after.user is not None


def test_history_can_be_told_afterwards_and_put_again_without_change(house: House, filled: Directory) -> None:
    told = [user(number=NUMBERS[at], since=house.clock() - timedelta(days=100 - 10 * at)) for at in (1, 2, 3)]
    assert filled.put_all(told) == ["changed"] * 3
    assert filled.put_all(told) == ["unchanged"] * 3
    for directory in (filled, reopened(house)):
        seen = [number_at(directory, house, days=days) for days in (95, 90, 85, 80, 75, 70, 1, 0)]
        assert seen == [None, *(NUMBERS[at] for at in (1, 1, 2, 2, 3, 3, 0))]


def test_a_change_can_be_told_ahead(house: House, filled: Directory) -> None:
    filled.put(user(number=NUMBERS[1], since=house.clock() + timedelta(days=1)))
    assert number_at(filled, house) == NUMBERS[0]
    house.clock.forward(days=1)
    assert number_at(filled, house) == NUMBERS[1]


def test_a_record_for_the_same_moment_corrects_the_other(house: House, filled: Directory) -> None:
    since = house.clock() - timedelta(days=1)
    filled.put_all([user(number=NUMBERS[1], since=since), user(number=NUMBERS[2], since=since)])
    for directory in (filled, reopened(house)):
        assert number_at(directory, house, hours=1) == NUMBERS[2]
    assert count(house) == 4


def test_the_location_is_judged_as_of_the_same_moment(house: House, filled: Directory) -> None:
    house.clock.forward(days=2)
    filled.put(location(texting=False))
    facts = [filled.as_of("org-001", "user-1", house.clock() - timedelta(days=days)) for days in (1, 0)]
    assert [each.location.texting for each in facts if each and each.location] == [True, False]


def test_an_organisation_counts_before_its_first_record_too(house: House, directory: Directory) -> None:
    directory.put(org(since=house.clock()))
    facts = directory.as_of("org-001", "user-1", house.clock() - timedelta(days=300))
    assert facts is not None
    assert facts.org.customer_type == "enterprise"


def test_a_user_or_location_of_an_organisation_that_is_not_there_is_refused(directory: Directory) -> None:
    for record in (location(), user()):
        with pytest.raises(NotFound) as refusal:
            directory.put(record)
        assert refusal.value.field == "org_id"


def test_a_user_at_a_location_that_is_not_there_is_refused(directory: Directory) -> None:
    directory.put(org())
    with pytest.raises(Conflict) as refusal:
        directory.put(user())
    assert refusal.value.field == "location_id"


def test_a_refused_record_of_many_leaves_the_others_as_they_are(house: House, directory: Directory) -> None:
    many: list[Record] = [org(), user(), location(), user(), user(user_id="user-2", location_id="loc-9")]
    outcomes = directory.put_all(many)
    assert [each if isinstance(each, str) else type(each) for each in outcomes] == [
        *("added", Conflict, "added", "added", Conflict)
    ]
    assert isinstance(outcomes[1], Refusal)
    assert count(house) == 3


def test_many_records_are_put_in_order_across_transactions(house: House, directory: Directory) -> None:
    users: list[Record] = [user(user_id=f"user-{number}", number=NUMBERS[number % 10]) for number in range(2500)]
    assert directory.put_all([org(), location(), *users]) == ["added"] * 2502
    assert reopened(house).put_all(users) == ["unchanged"] * 2500


def test_whether_a_user_may_text_is_said_with_what_is_missing(filled: Directory) -> None:
    assert filled.texting("org-001", "user-1").may_text
    filled.put_all([org(add_on=False), user(texting="off")])
    answer = filled.texting("org-001", "user-1")
    assert (answer.may_text, answer.missing) == (False, ("texting-off", "no-add-on"))


@pytest.mark.parametrize(("org_id", "user_id"), [("org-001", "user-9"), ("org-009", "user-1")])
def test_texting_of_nobody_is_not_found(filled: Directory, org_id: str, user_id: str) -> None:
    with pytest.raises(NotFound):
        filled.texting(org_id, user_id)


def test_the_record_in_force_is_given_with_its_beginning(house: House, filled: Directory) -> None:
    made = house.clock()
    house.clock.forward(days=1)
    interval = filled.current("user", "org-001", "user-1")
    assert interval is not None
    assert (interval.record, interval.since) == (user(), made)
    assert filled.current("user", "org-001", "user-9") is None
    assert filled.current("user", "org-009", "user-1") is None


def test_an_interval_is_dropped_400_days_after_it_ended(house: House, filled: Directory) -> None:
    house.clock.forward(days=1)
    filled.put(user(number=NUMBERS[1]))
    house.clock.forward(days=400, microseconds=-1)
    assert filled.drop_ended() == 0
    house.clock.forward(microseconds=1)
    assert filled.drop_ended() == 1
    assert count(house) == 3
    assert number_at(filled, house, days=500) == number_at(reopened(house), house, days=500) == NUMBERS[1]
    assert filled.drop_ended() == 0


def test_nothing_readable_is_at_rest(house: House, filled: Directory, tmp_path: Path) -> None:
    with house.store.reading() as connection:
        found = connection.execute(select(rows)).all()
    stored = b"".join(
        bytes(value) if isinstance(value, bytes) else str(value).encode() for row in found for value in row
    )
    for readable in (b"org-001", b"loc-1", b"user-1", NUMBERS[0].encode(), NUMBERS[0][2:].encode(), b"enterprise"):
        assert readable not in stored
        assert all(readable not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("column", ["since", "org"])
def test_a_row_moved_to_another_place_does_not_open(house: House, filled: Directory, column: str) -> None:
    filled.put(org(org_id="org-002"))
    with house.store.transaction() as connection:
        moved = {
            "since": house.clock() - timedelta(days=1),
            "org": house.organisations.find("org-002"),
        }[column]
        connection.execute(update(rows).values({column: moved}))
    with pytest.raises(CannotOpen):
        reopened(house)
