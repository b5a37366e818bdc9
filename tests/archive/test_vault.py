"""What the vault promises, on every engine it runs on."""

import hashlib
import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.housing import House, event
from textkeep.archive.batch import Batch, Incoming, Receipt
from textkeep.archive.rows import open_row
from textkeep.archive.sealing import CannotOpen
from textkeep.archive.shelf import Day
from textkeep.archive.text import TextId, read_event
from textkeep.errors import NotFound
from textkeep.ledger import log, tree
from textkeep.store.bulk import TextRow
from textkeep.store.tables import ledger_entries, papers_of, texts_of

PRODUCER = bytes(range(8))


def incoming(house: House, index: int, record: dict[str, Any], **how: Any) -> Incoming:
    raw = json.dumps(record).encode()
    parsed = read_event(raw)
    org = house.organisations.register(parsed.data.org_id)
    decided = {"verdict": "accept", "reason": None, **how}
    return Incoming(raw, index, parsed.id, parsed.data.sent_at, org, parsed.source, **decided)


def batch(house: House, *records: dict[str, Any], name: str = "batch-1", **how: Any) -> Batch:
    return Batch(name, house.clock(), PRODUCER, [incoming(house, at, each, **how) for at, each in enumerate(records)])


def take(house: House, *records: dict[str, Any], **how: Any) -> Receipt:
    return house.vault.accept([batch(house, *records, **how)])[0]


def text_ids(receipt: Receipt) -> list[TextId]:
    return [TextId.parse(item.text_id) for item in receipt.items if item.text_id]


def test_an_accepted_text_opens_with_its_exact_bytes(house: House) -> None:
    record = event(1, body="Ça va? 👍🏽")
    receipt = take(house, record)
    org = house.organisations.register("org-001")
    opened = house.vault.read([(org, text_ids(receipt)[0])])[text_ids(receipt)[0]]
    assert opened.raw == json.dumps(record).encode()
    assert opened.event.data.body == "Ça va? 👍🏽"
    assert opened.received_at == house.clock()
    assert (receipt.read, receipt.accepted) == (1, 1)


def test_what_was_accepted_is_there_after_a_restart(house: House) -> None:
    receipt = take(house, *(event(number) for number in range(20)))
    again = house.reopened()
    org = again.organisations.find("org-001")
    assert org is not None
    found = again.vault.read([(org, text_id) for text_id in text_ids(receipt)])
    assert {opened.event.id for opened in found.values()} == {f"txt-{number:010d}" for number in range(20)}


def test_a_failed_batch_leaves_nothing_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = batch(house, event(1), name="good"), batch(house, event(2), name="good")
    with pytest.raises(Exception, match=r"(?i)unique"):
        house.vault.accept([good, bad])
    assert house.vault.batch("good") is None
    with house.store.reading() as connection:
        assert connection.execute(select(texts_of("2026-11-20"))).all() == []
        assert log.entries(connection) == []
    assert take(house, event(1)).accepted == 1


def test_nobody_sees_a_batch_before_it_is_committed(house: House) -> None:
    receipt = take(house, event(1))
    org = house.organisations.register("org-001")
    seen: list[int] = []
    inside, looked = threading.Event(), threading.Event()

    def look() -> None:
        inside.wait()
        seen.append(len(house.vault.read([(org, text_ids(receipt)[0])])))
        looked.set()

    reader = threading.Thread(target=look)
    reader.start()
    with house.behind.transaction() as connection:
        table = texts_of("2026-11-20")
        connection.execute(table.delete())
        inside.set()
        looked.wait(0.2)
        raise_rollback = connection.get_transaction()
        assert raise_rollback is not None
        raise_rollback.rollback()
    reader.join()
    assert seen == [1]


def test_the_same_record_again_is_a_duplicate_and_is_not_stored(house: House) -> None:
    take(house, event(1), event(2))
    again = take(house, event(1), event(2), name="batch-2")
    assert (again.duplicates, again.accepted, again.root) == (2, 0, None)
    with house.store.reading() as connection:
        assert len(connection.execute(select(texts_of("2026-11-20"))).all()) == 2


def test_transport_attributes_and_the_order_of_members_make_no_difference(house: House) -> None:
    record = event(1)
    take(house, record)
    moved = dict(reversed(record.items())) | {"time": "2026-11-22T00:00:00Z", "sequence": "7", "traceparent": "00-1"}
    assert take(house, moved, name="batch-2").duplicates == 1


def test_a_double_within_one_batch_is_found(house: House) -> None:
    receipt = take(house, event(1), event(1), event(1, body="else"), event(1, body="else"))
    assert [item.outcome for item in receipt.items] == ["accepted", "duplicate", "version", "duplicate"]
    assert receipt.items[2].text_id == receipt.items[3].text_id


def test_a_double_in_a_batch_that_shares_the_transaction_is_found(house: House) -> None:
    one, two = house.vault.accept([batch(house, event(1), name="one"), batch(house, event(1), name="two")])
    assert (one.accepted, two.duplicates) == (1, 1)


def test_another_disposition_of_the_same_text_is_an_update(house: House) -> None:
    take(house, event(1, disposition="sent"))
    receipt = take(house, event(1, disposition="blocked", reason="spam"), name="batch-2")
    assert (receipt.versions, receipt.items[0].flags) == (1, ("updated",))
    assert text_ids(receipt)[0].version == 2


def test_another_body_under_the_same_id_flags_both_and_rewrites_nothing(house: House) -> None:
    first = take(house, event(1))
    second = take(house, event(1, body="changed"), name="batch-2")
    org = house.organisations.register("org-001")
    ids = [*text_ids(first), *text_ids(second)]
    found = house.vault.read([(org, text_id) for text_id in ids])
    assert [found[text_id].flags for text_id in ids] == [("rewritten",), ("rewritten",)]
    assert [found[text_id].event.data.body for text_id in ids] == ["Text number 1", "changed"]
    with house.store.reading() as connection:
        row = connection.execute(select(texts_of("2026-11-20")).where(texts_of("2026-11-20").c.version == 1)).one()
        assert open_row(house.sealer, "2026-11-20", TextRow(*row)).flags == ()


def test_the_same_id_of_another_organisation_source_or_day_is_another_text(house: House) -> None:
    other_source = event(1) | {"source": "/elsewhere"}
    receipt = take(
        house, event(1), event(1, org_id="org-002"), other_source, event(1, sent_at="2026-11-19T10:00:00.000Z")
    )
    assert receipt.accepted == 4


def test_an_expired_text_is_refused_counted_and_not_stored(house: House) -> None:
    sent = house.clock() - timedelta(days=400)
    receipt = take(house, event(1, sent_at=sent.isoformat()))
    assert (receipt.refused, receipt.items[0].reason) == (1, "expired")
    just = house.clock() - timedelta(days=400) + timedelta(milliseconds=1)
    assert take(house, event(2, sent_at=just.isoformat()), name="batch-2").accepted == 1
    with house.store.reading() as connection:
        entry = log.entries(connection, kinds=["refusals"])[0]
    assert (entry.shelf, entry.body["count"]) == (Day.of(sent).shelf, 1)


def test_a_text_for_a_day_whose_purge_has_begun_is_refused(house: House) -> None:
    with house.store.transaction() as connection:
        house.shelves.set_state(connection, "2026-11-20", "intent")
    assert take(house, event(1)).items[0].reason == "expired"


def test_a_text_for_a_day_whose_secret_is_gone_is_refused(house: House) -> None:
    house.keyring.destroy("shelf:2026-11-20", entry="test", now=house.clock())
    assert take(house, event(1)).refused == 1


def test_a_quarantined_record_lies_sealed_on_the_day_it_was_sent(house: House) -> None:
    receipt = take(house, event(1), verdict="quarantine", reason="mms")
    assert (receipt.quarantined, receipt.root) == (1, None)
    with house.store.reading() as connection:
        paper = next(house.papers.of_kind(connection, "2026-11-20", "quarantine"))
        entry = log.entries(connection, kinds=["quarantine"])[0]
    head, raw = paper.plain.split(b"\n", 1)
    assert (json.loads(head)["reason"], raw) == ("mms", json.dumps(event(1)).encode())
    assert entry.body["reasons"] == {"mms": 1}


@pytest.mark.parametrize("sent_at", [None, datetime.fromisoformat("2199-01-01T00:00Z"), "expired"])
def test_a_quarantined_record_without_a_usable_day_lies_on_the_day_it_came(house: House, sent_at: object) -> None:
    moment = house.clock() - timedelta(days=401) if sent_at == "expired" else sent_at
    assert moment is None or isinstance(moment, datetime)
    record = Incoming(b"{", 0, None, moment, None, None, "quarantine", "unreadable")
    house.vault.accept([Batch("b", house.clock(), PRODUCER, [record])])
    with house.store.reading() as connection:
        assert house.papers.counts(connection, "2026-11-22") == {"quarantine": 1}


def test_every_slice_has_a_ledger_entry_whose_root_is_that_of_its_rows(house: House) -> None:
    receipt = take(house, event(1), event(2), event(3, sent_at="2026-11-19T10:00:00.000Z"))
    with house.store.reading() as connection:
        entries = log.entries(connection, kinds=["slice"])
        roots = []
        for entry in entries:
            assert entry.shelf is not None
            rows = connection.execute(select(texts_of(entry.shelf))).all()
            leaves = [hashlib.sha256(row.org + row.commitment).digest() for row in rows]
            assert entry.body["root"] == tree.root_of_set(leaves).hex()
            roots.append(bytes.fromhex(entry.body["root"]))
    assert [entry.shelf for entry in entries] == ["2026-11-19", "2026-11-20"]
    assert receipt.root == tree.root([tree.leaf_hash(root) for root in roots]).hex()


def test_a_batch_of_very_many_organisations_keeps_every_entry_small(house: House) -> None:
    receipt = take(house, *(event(1, org_id=f"org-{number}") for number in range(150)))
    assert receipt.accepted == 150
    with house.store.reading() as connection:
        entries = log.entries(connection, kinds=["slice"])
        sizes = [len(row.entry) for row in connection.execute(select(ledger_entries))]
    assert sum(entry.body["accepted"] for entry in entries) == 150
    assert max(sizes) <= log.ENTRY_BYTES


@pytest.mark.parametrize(
    ("column", "value"),
    [("org", b"otherorg"), ("tag", bytes(16)), ("version", 2), ("slice", 7), ("commitment", bytes(32)), ("size", 1)],
)
def test_a_row_with_any_field_moved_elsewhere_does_not_open(house: House, column: str, value: object) -> None:
    take(house, event(1))
    other = house.organisations.register("org-002")
    table = texts_of("2026-11-20")
    with house.behind.transaction() as connection:
        connection.execute(update(table).values({column: other if column == "org" else value}))
        row = connection.execute(select(table)).one()
        with pytest.raises(CannotOpen):
            open_row(house.sealer, "2026-11-20", TextRow(*row))


def test_a_row_moved_to_another_shelf_does_not_open(house: House) -> None:
    take(house, event(1))
    with house.store.reading() as connection:
        row = connection.execute(select(texts_of("2026-11-20"))).one()
    with pytest.raises(CannotOpen):
        open_row(house.sealer, "2026-11-19", TextRow(*row))


def test_the_tables_of_a_shelf_hold_the_clear_columns_and_no_other() -> None:
    assert [column.name for column in texts_of("2026-11-20").columns] == [
        "org", "tag", "version", "slice", "commitment", "size", "sealed",
    ]  # fmt: skip
    assert {"kind", "made_at"} == {c.name for c in papers_of("x").columns} - {c.name for c in texts_of("x").columns} - {
        "id"
    }


def test_what_is_absent_is_not_found_in_the_same_way_everywhere(house: House) -> None:
    org = house.organisations.register("org-001")
    absent = TextId(Day.named("2026-11-20").date, bytes(16), 1)
    never = TextId(Day.named("2019-01-01").date, bytes(16), 1)
    assert house.vault.read([(org, absent), (org, never)]) == {}
    assert house.vault.batch("none") is None
    with pytest.raises(NotFound):
        house.organisations.name(org[:4] + bytes(4))  # type: ignore[arg-type]
    with house.store.reading() as connection, pytest.raises(NotFound):
        house.persons.name_of(connection, bytes(8))


def test_the_oldest_that_no_index_holds_is_told_until_it_is_held_or_its_shelf_has_closed(house: House) -> None:
    first = house.clock()
    take(house, event(1))
    house.clock.forward(minutes=1)
    take(house, event(2, sent_at="2026-11-19T10:00:00.000Z"), name="batch-2")
    assert house.vault.oldest_unindexed() == first
    with house.store.transaction() as connection:
        claimed = house.vault.slices_of(connection, "2026-11-20")
        assert {opened.event.id for opened in house.vault.slice_texts(connection, claimed)} == {"txt-0000000001"}
        house.vault.mark_indexed(connection, claimed)
    assert house.vault.oldest_unindexed() == house.clock()
    with house.store.transaction() as connection:
        house.shelves.set_state(connection, "2026-11-19", "intent")
    assert house.vault.oldest_unindexed() is None


def test_the_stored_receipt_tells_counts_and_no_ids(house: House) -> None:
    receipt = take(house, event(1), event(1))
    stored = house.vault.batch("batch-1")
    assert stored is not None
    assert (stored.read, stored.accepted, stored.duplicates, stored.root) == (2, 1, 1, receipt.root)


def test_a_record_that_canonical_json_cannot_carry_is_still_told_from_another(house: House) -> None:
    for number in ("1" * 5000, "9007199254740993", '"\\ud800"', "1e999"):
        raw = json.dumps(event(1)).encode()[:-2] + b', "extra": ' + number.encode() + b"}}"
        org = house.organisations.register("org-001")
        sent_at = read_event(json.dumps(event(1)).encode()).data.sent_at
        record = Incoming(raw, 0, "big-" + number[:9], sent_at, org, "/s", "accept", None)
        other = Incoming(raw.replace(b"}}", b" }}"), 1, "big-" + number[:9], sent_at, org, "/s", "accept", None)
        receipt = house.vault.accept(
            [Batch(number[:9], house.clock(), PRODUCER, [record, record_at(record, 2), other])]
        )
        assert [item.outcome for item in receipt[0].items][::2] == ["accepted", "duplicate"]


def record_at(record: Incoming, index: int) -> Incoming:
    return Incoming(
        record.raw, index, record.id, record.sent_at, record.org, record.source, record.verdict, record.reason
    )
