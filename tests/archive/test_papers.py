"""A shelf's papers: sealed beside the texts, bound to their rows, gone with the shelf."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from tests.housing import NOON, House
from textkeep.archive.keyring import SecretDestroyed, SecretMissing, shelf_secret
from textkeep.archive.papers import Kind, Paper
from textkeep.archive.permit import Permit
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.text import HOUSE, Handle, commitment
from textkeep.errors import Outage
from textkeep.store.tables import papers_of

DAY, NEXT = "2026-11-20", "2026-11-21"
PLAIN = b"plain canary of a paper"
TABLE = papers_of(DAY)


@pytest.fixture
def org(house: House) -> Handle:
    """A registered organisation."""
    return house.organisations.register("org-001")


def add(
    house: House, org: Handle, plain: bytes = PLAIN, kind: Kind = "quarantine", later: int = 0, slice_id: int | None = 7
) -> Paper:
    with house.store.transaction() as connection:
        now = NOON + timedelta(seconds=later)
        return house.papers.add(connection, DAY, kind, org, plain, now=now, slice_id=slice_id)


def of_kind(house: House, kind: Kind, org: Handle | None = None) -> list[Paper]:
    with house.store.reading() as connection:
        return list(house.papers.of_kind(connection, DAY, kind, org))


def test_a_paper_comes_back_as_it_was_added(house: House, org: Handle) -> None:
    for plain, slice_id in ((b"", None), (PLAIN, 0), (bytes(100_000), 2**63 - 1)):
        paper = add(house, org, plain, slice_id=slice_id)
        assert (paper.plain, paper.slice, paper.org, paper.kind) == (plain, slice_id, org, "quarantine")
        assert (len(paper.id), paper.made_at) == (16, NOON)
        with house.store.reading() as connection:
            assert house.papers.get(connection, DAY, paper.id) == paper
            assert house.papers.get(connection, NEXT, paper.id) is None
            assert house.papers.get(connection, DAY, bytes(16)) is None


def test_papers_come_oldest_first_by_kind_and_by_organisation(house: House, org: Handle) -> None:
    other = house.organisations.register("org-002")
    third = add(house, other, later=30)
    first = add(house, org, later=10)
    second = add(house, org, later=20)
    detail = add(house, HOUSE, kind="activity")
    assert of_kind(house, "quarantine") == [first, second, third]
    assert of_kind(house, "quarantine", org) == [first, second]
    assert of_kind(house, "activity") == of_kind(house, "activity", HOUSE) == [detail]
    assert of_kind(house, "vocabulary") == []
    with house.store.reading() as connection:
        assert house.papers.counts(connection, DAY) == {"quarantine": 3, "activity": 1}
        assert house.papers.counts(connection, NEXT) == {}


def test_the_row_tells_its_clear_columns_and_nothing_of_the_content(house: House, org: Handle) -> None:
    paper = add(house, org)
    with house.store.reading() as connection:
        row = connection.execute(select(TABLE)).one()
    opened = house.sealer.open(
        "quarantine",
        DAY,
        org,
        [b"quarantine", paper.id, row.commitment, int(NOON.timestamp() * 1e6).to_bytes(8, "big"), bytes(7) + b"\x07"],
        row.sealed,
    )
    assert opened[32:] == PLAIN
    assert row.commitment == commitment(opened[:32], PLAIN) == paper.commitment
    assert row.size == len(PLAIN)
    assert not any(PLAIN in value for value in row if isinstance(value, bytes))
    assert add(house, org).commitment != paper.commitment


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", bytes(16)),
        ("kind", "activity"),
        ("kind", "body"),
        ("org", HOUSE),
        ("slice", 8),
        ("slice", None),
        ("commitment", bytes(32)),
        ("size", 1),
        ("made_at", NOON + timedelta(microseconds=1)),
        ("sealed", b"\x01" + bytes(60)),
    ],
)
def test_a_paper_with_any_column_changed_does_not_open(house: House, org: Handle, column: str, value: object) -> None:
    add(house, org)
    with house.behind.transaction() as connection:
        connection.execute(update(TABLE).values({column: value}))
        row = connection.execute(select(TABLE)).one()
        with pytest.raises(CannotOpen) as caught:
            house.papers.get(connection, DAY, row.id)
        with pytest.raises(CannotOpen):
            list(house.papers.of_kind(connection, DAY, row.kind))
    assert "canary" not in str(caught.value)


def test_a_paper_moved_to_another_shelf_does_not_open(house: House, org: Handle) -> None:
    paper = add(house, org)
    with house.store.transaction() as connection:
        row = connection.execute(select(TABLE)).one()
        connection.execute(insert(papers_of(NEXT)).values(row._asdict()))
        with pytest.raises(CannotOpen):
            house.papers.get(connection, NEXT, paper.id)


def test_removing_takes_out_what_is_named_and_no_more(house: House, org: Handle) -> None:
    papers = [add(house, org, kind="vocabulary", later=number) for number in range(5)]
    with house.store.transaction() as connection:
        house.papers.remove(connection, DAY, [])
        house.papers.remove(connection, DAY, [paper.id for paper in papers[:2]] + [bytes(16)])
    assert of_kind(house, "vocabulary") == papers[2:]


def test_removing_reaches_vocabulary_and_nothing_that_came_from_outside(house: House, org: Handle) -> None:
    kinds: tuple[Kind, ...] = ("quarantine", "activity", "undecided")
    papers = {kind: add(house, org, kind=kind) for kind in kinds}
    with house.store.transaction() as connection:
        house.papers.remove(connection, DAY, [paper.id for paper in papers.values()])
    assert {kind: of_kind(house, kind) for kind in kinds} == {kind: [paper] for kind, paper in papers.items()}


def test_a_record_is_taken_out_with_a_permit_for_its_shelf(house: House, org: Handle) -> None:
    one, other = add(house, org), add(house, org, later=1)
    with house.store.transaction() as connection:
        house.papers.take_out(connection, DAY, one.id, Permit("quarantine-return", DAY))
        with pytest.raises(ValueError, match="another shelf"):
            house.papers.take_out(connection, DAY, other.id, Permit("quarantine-return", NEXT))
    assert of_kind(house, "quarantine") == [other]


def test_a_paper_that_is_carried_elsewhere_keeps_id_salt_and_commitment(house: House, org: Handle) -> None:
    paper = add(house, org, slice_id=None)
    with house.store.transaction() as connection:
        house.papers.carry(connection, NEXT, paper)
        carried = house.papers.get(connection, NEXT, paper.id)
    assert carried == paper
    assert carried is not None
    assert (carried.salt, carried.commitment) == (paper.salt, paper.commitment)


def test_what_does_not_open_is_read_without_proof_of_it(house: House, org: Handle) -> None:
    paper = add(house, org)
    with house.behind.transaction() as connection:
        connection.execute(update(TABLE).values(size=1))
    with house.store.reading() as connection:
        [(row, opened)] = house.papers.examine(connection, DAY, [paper.id])
        assert opened is None
        assert house.papers.unauthenticated(DAY, row) == paper.salt + paper.plain


def test_more_papers_than_a_statement_takes_are_removed_at_once(house: House, org: Handle) -> None:
    """A day of many small posts has as many vocabulary segments; SQLite takes 32,766 parameters."""
    paper = add(house, org, kind="vocabulary")
    ids = [number.to_bytes(16, "big") for number in range(40_000)]
    with house.store.transaction() as connection:
        house.papers.remove(connection, DAY, [*ids, paper.id])
    assert of_kind(house, "vocabulary") == []


def test_papers_of_a_destroyed_shelf_stay_closed(house: House, org: Handle) -> None:
    paper = add(house, org)
    house.keyring.destroy(shelf_secret(DAY), entry="1", now=NOON)
    with house.store.reading() as connection, pytest.raises(SecretDestroyed):
        house.papers.get(connection, DAY, paper.id)
    with pytest.raises(SecretDestroyed):
        add(house, org)


def test_nothing_is_added_for_an_organisation_without_a_secret(house: House) -> None:
    with pytest.raises(SecretMissing):
        add(house, Handle(b"nobody!!"))
    with house.store.reading() as connection:
        assert house.papers.counts(connection, DAY) == {}


def test_a_paper_cannot_be_added_while_reading(house: House, org: Handle) -> None:
    with pytest.raises(Outage), house.store.reading() as connection:
        house.papers.add(connection, DAY, "quarantine", org, PLAIN, now=NOON)
    assert of_kind(house, "quarantine") == []
