"""Reading a text and its conversation."""

import pytest

from tests.housing import House, event
from tests.search.searching import PERSON, WHY, Searching
from textkeep.access.principal import Principal
from textkeep.archive.shelf import RETENTION, Day
from textkeep.archive.text import TextId
from textkeep.errors import Forbidden, Malformed, NotFound, ReasonRequired
from textkeep.search.reader import MAX_AROUND

pytestmark = pytest.mark.parametrize("house", ["memory"], indirect=True)

OWN, PEER, OTHER = "+12125550101", "+13125550102", "+14155550103"


@pytest.fixture
def searching(house: House) -> Searching:
    return Searching.build(house)


def talk(searching: Searching) -> dict[str, TextId]:
    """Texts of one pair on three days in both directions, among others; their ids by body."""
    out, back = {"from": OWN, "to": PEER}, {"from": PEER, "to": OWN, "direction": "inbound"}
    records = [
        event(1, body="one", sent_at="2026-11-18T09:00:00Z", **out),
        event(2, body="two", sent_at="2026-11-18T23:59:59.999Z", **back),
        event(3, body="to another", sent_at="2026-11-19T08:00:00Z", **{"from": OWN, "to": OTHER}),
        event(4, body="three", sent_at="2026-11-19T09:00:00Z", **out),
        event(5, body="four", sent_at="2026-11-19T09:00:00Z", **back),
        event(6, body="five", sent_at="2026-11-19T09:00:00.001Z", **out),
        event(7, body="six", sent_at="2026-11-21T09:00:00Z", **back),
        event(8, body="of another organisation", org_id="org-002", sent_at="2026-11-19T10:00:00Z", **out),
    ]
    receipt = searching.take(*records)
    searching.follow()
    names = [record["data"]["body"] for record in records]
    return {names[item.index]: TextId.parse(item.text_id) for item in receipt.items if item.text_id}


def around(searching: Searching, text_id: TextId, before: int = 20, after: int = 20) -> list[str]:
    found = searching.reader.conversation(searching.officer(), str(text_id), reason=WHY, before=before, after=after)
    return [each.event.data.body for each in found.texts]


def in_order(ids: dict[str, TextId]) -> list[str]:
    """The conversation as it was sent; `three` and `four` share a millisecond, and stand by their ids."""
    middle = sorted(["three", "four"], key=lambda body: ids[body])
    return ["one", "two", *middle, "five", "six"]


def test_a_text_is_read_by_its_id_and_put_on_record(searching: Searching) -> None:
    ids = talk(searching)
    opened = searching.reader.read(searching.officer(), str(ids["one"]), reason=WHY)
    assert opened.event.data.body == "one"
    record = searching.house.activity.of_day(Day.of(searching.house.clock()))[-1]
    assert (record.kind, record.person, record.org) == ("read", PERSON, searching.org())
    assert record.detail == {"text": str(ids["one"]), "reason": WHY}


def test_a_conversation_is_both_directions_of_one_pair_across_days(searching: Searching) -> None:
    ids = talk(searching)
    for body in in_order(ids):
        assert around(searching, ids[body]) == in_order(ids)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (0, 1), (1, 1), (2, 3), (5, 5), (200, 200)])
def test_a_conversation_is_as_long_as_was_asked(searching: Searching, before: int, after: int) -> None:
    ids = talk(searching)
    whole = in_order(ids)
    for at, body in enumerate(whole):
        assert around(searching, ids[body], before, after) == whole[max(0, at - before) : at + after + 1]


def test_a_conversation_is_put_on_record(searching: Searching) -> None:
    ids = talk(searching)
    found = searching.reader.conversation(searching.officer(), str(ids["one"]), reason=WHY, before=3, after=2)
    record = searching.house.activity.of_day(Day.of(searching.house.clock()))[-1]
    assert (record.id, record.kind) == (found.read_id, "conversation")
    detail = {"text": str(ids["one"]), "reason": WHY, "before": 3, "after": 2, "count": 3}
    assert record.detail == detail


def test_the_text_itself_is_there_before_it_is_findable(searching: Searching) -> None:
    talk(searching)
    receipt = searching.take(event(9, body="new", sent_at="2026-11-22T09:00:00Z"))
    assert around(searching, TextId.parse(receipt.items[0].text_id or ""), before=1) == ["six", "new"]


def test_versions_stand_in_a_conversation_beside_one_another(searching: Searching) -> None:
    searching.take(event(1, body="first"), event(1, body="second"))
    searching.follow()
    (one, two) = sorted(each.id for each in searching.every("first OR second"))
    assert around(searching, one) == around(searching, two) == ["first", "second"]


def test_what_is_absent_or_anothers_or_no_id_is_not_found(searching: Searching) -> None:
    ids = talk(searching)
    absent = str(TextId(ids["one"].day, b"x" * 16, 1))
    for text_id in ("", "x", "20261118-zz-1", absent, str(ids["of another organisation"]), "\ud800", "20261118--1"):
        with pytest.raises(NotFound):
            searching.reader.read(searching.officer(), text_id, reason=WHY)
        with pytest.raises(NotFound):
            searching.reader.conversation(searching.officer(), text_id, reason=WHY)
    every = Principal(PERSON, "t", frozenset({"officer"}), None)
    assert searching.reader.read(every, str(ids["of another organisation"]), reason=WHY).org == searching.org("org-002")


def test_an_expired_text_is_not_found_and_in_no_conversation(searching: Searching) -> None:
    ids = talk(searching)
    first = searching.reader.read(searching.officer(), str(ids["one"]), reason=WHY)
    searching.house.clock.now = first.event.data.sent_at + RETENTION
    searching.house.shelves.ensure(searching.house.clock())
    with pytest.raises(NotFound):
        searching.reader.read(searching.officer(), str(ids["one"]), reason=WHY)
    with pytest.raises(NotFound):
        searching.reader.conversation(searching.officer(), str(ids["one"]), reason=WHY)
    assert around(searching, ids["two"]) == in_order(ids)[1:]


def test_reading_needs_a_role_and_a_reason(searching: Searching) -> None:
    ids = talk(searching)
    auditor = Principal(PERSON, "t", frozenset({"auditor"}), None)
    with pytest.raises(Forbidden):
        searching.reader.read(auditor, str(ids["one"]), reason=WHY)
    with pytest.raises(Forbidden):
        searching.reader.conversation(auditor, str(ids["one"]), reason=WHY)
    with pytest.raises(ReasonRequired):
        searching.reader.read(searching.officer(), str(ids["one"]), reason=" ")
    with pytest.raises(ReasonRequired):
        searching.reader.conversation(searching.officer(), str(ids["one"]), reason="")
    assert searching.house.activity.of_day(Day.of(searching.house.clock())) == []


@pytest.mark.parametrize(("before", "after", "field"), [(-1, 0, "before"), (0, MAX_AROUND + 1, "after")])
def test_a_conversation_has_a_bounded_size(searching: Searching, before: int, after: int, field: str) -> None:
    ids = talk(searching)
    with pytest.raises(Malformed) as refused:
        around(searching, ids["one"], before, after)
    assert refused.value.field == field
