"""The statements of the hot path: what they give together is what they give one by one."""

import json
from datetime import datetime

import pytest
from sqlalchemy import select

from tests.housing import NOON, House, event
from textkeep.archive.batch import Batch, Incoming
from textkeep.store.bulk import commitments_of_slices, texts_of_slices, texts_with_tags, texts_with_tags_of
from textkeep.store.engine import Vanished
from textkeep.store.tables import slices

DAYS = ("2026-11-18", "2026-11-19", "2026-11-20")
ABSENT = "2026-11-17"


def taken(house: House) -> dict[str, list[bytes]]:
    """Some texts on each day, a few of them with a second version; by day, their tags."""
    org = house.organisations.register("org-001")
    records: list[Incoming] = []
    for number in range(30):
        sent_at = f"{DAYS[number % 3]}T10:00:00.000Z"
        for body in ("once", "twice") if number % 5 == 0 else ("once",):
            made = event(number, body=body, sent_at=sent_at)
            when = datetime.fromisoformat(sent_at)
            raw = json.dumps(made).encode()
            records.append(Incoming(raw, len(records), made["id"], when, org, made["source"], "accept", None))
    house.vault.accept([Batch("batch-1", NOON, b"producer", records)])
    tags = {day: set[bytes]() for day in DAYS}
    for record in records:
        day = DAYS[int(record.id[-2:]) % 3] if record.id else ""
        tags[day].add(house.vault._tags.tag(day, org, record.source or "", record.id or ""))
    return {day: sorted(each) for day, each in tags.items()}


def test_texts_of_many_shelves_are_those_of_each(house: House) -> None:
    tags = taken(house)
    wanted = {**tags, ABSENT: [bytes(16)]}
    with house.store.reading() as connection:
        together = texts_with_tags_of(connection, wanted)
        one_by_one = {shelf: texts_with_tags(connection, shelf, each) for shelf, each in wanted.items()}
        assert texts_with_tags_of(connection, {}) == {}
    assert together == one_by_one
    assert {shelf: len(rows) for shelf, rows in together.items()} == {**dict.fromkeys(DAYS, 12), ABSENT: 0}
    assert [row.version for row in together[DAYS[0]]].count(2) == 2


@pytest.mark.parametrize("others", [0, 1000])
def test_commitments_come_slice_by_slice_and_are_those_of_the_texts(house: House, others: int) -> None:
    taken(house)
    with house.store.reading() as connection:
        there = list(connection.scalars(select(slices.c.id).where(slices.c.shelf == DAYS[0])))
        wanted = [*there, *range(others)]
        found = commitments_of_slices(connection, DAYS[0], wanted)
        rows = texts_of_slices(connection, DAYS[0], wanted)
        assert commitments_of_slices(connection, DAYS[0], []) == []
    assert sorted(found) == sorted((row.slice, row.org, row.commitment) for row in rows)
    assert (len(found), [each[0] for each in found]) == (12, sorted(each[0] for each in found))


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_a_table_that_is_gone_is_told_and_the_connection_goes_on(house: House) -> None:
    tags = taken(house)

    def read_what_is_gone() -> None:
        with house.store.reading() as connection:
            texts_with_tags_of(connection, {DAYS[0]: tags[DAYS[0]], "1999-01-01": [bytes(16)], DAYS[1]: tags[DAYS[1]]})

    for _ in range(30):  # more often than there are connections
        with pytest.raises(Vanished):
            read_what_is_gone()
    with house.store.reading() as connection:
        assert len(texts_with_tags_of(connection, tags)[DAYS[0]]) == 12
