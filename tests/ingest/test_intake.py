"""Intake: every record of a request gets the outcome that the table says, and none is lost."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.housing import House, event
from tests.ingest.ways_in import PEER, PERSON, WaysIn, feed, raws
from textkeep.directory.feed import take as take_directory
from textkeep.errors import Forbidden, TooLarge
from textkeep.ingest.splitting import MAX_RECORDS
from textkeep.store.tables import batches


@pytest.fixture
def ways_in(house: House) -> WaysIn:
    return WaysIn.build(house).register("org-001", "org-002")


def test_a_business_text_is_accepted_and_on_disk(ways_in: WaysIn) -> None:
    receipt = ways_in.take(event(1))
    (item,) = receipt.items
    assert (item.outcome, item.id, item.reason, item.flags) == ("accepted", "txt-0000000001", None, ())
    assert ways_in.house.vault.batch(receipt.batch_id) is not None
    assert receipt.received_at == ways_in.house.clock()


def test_every_row_of_the_table_has_its_outcome(ways_in: WaysIn) -> None:
    now = ways_in.house.clock()
    later, long_ago = (now + timedelta(hours=1)).isoformat(), (now - timedelta(days=400)).isoformat()
    receipt = ways_in.take(
        b"not JSON",
        event(1, **{"from": None}),
        event(2, body="x" * 70_000),
        event(3, org_id="org-009"),
        event(4, sent_at=long_ago),
        event(5, sent_at=later),
        event(6, channel="mms"),
        event(7, to=[PEER, "+12125550199"]),
        event(8, to="+447700900123"),
        event(9, channel="pigeon"),
        event(10),
        event(10),
        event(10, body="else"),
        event(10, body="else", disposition="failed"),
        event(11, sent_at=(now - timedelta(days=8)).isoformat()),
    )
    assert [(item.outcome, item.reason) for item in receipt.items] == [
        ("quarantined", "unreadable"),
        ("quarantined", "malformed"),
        ("quarantined", "too-long"),
        ("quarantined", "unknown-organisation"),
        ("refused", "expired"),
        ("quarantined", "future"),
        ("quarantined", "mms"),
        ("quarantined", "group"),
        ("quarantined", "international"),
        ("quarantined", "channel"),
        ("accepted", None),
        ("duplicate", None),
        ("version", None),
        ("version", None),
        ("accepted", None),
    ]
    assert [item.flags for item in receipt.items[10:]] == [(), (), ("rewritten",), ("updated",), ("late",)]
    counts = (receipt.accepted, receipt.versions, receipt.duplicates, receipt.quarantined, receipt.refused)
    assert counts == (2, 2, 1, 9, 1)
    assert receipt.read == sum(counts) == 15


def test_eligibility_is_judged_as_of_the_moment_it_was_sent(ways_in: WaysIn) -> None:
    user = ways_in.directory.current("user", "org-001", "org-001-user-0001")
    assert user is not None
    ways_in.directory.put(user.record.model_copy(update={"number": "+12125550199"}))
    ways_in.house.clock.forward(hours=1)
    ways_in.directory.put(user.record.model_copy(update={"number": "+12125550198"}))
    moments = [ways_in.house.clock() - timedelta(hours=hours) for hours in (48, 0.5, 0)]
    receipt = ways_in.take(
        *(
            event(at, sent_at=moment.isoformat(), **{"from": number})
            for at, (moment, number) in enumerate(
                (moment, number) for moment in moments for number in ("+12125550199", "+12125550198")
            )
        )
    )
    assert [item.flags for item in receipt.items] == [
        (),
        ("not-own-number",),
        (),
        ("not-own-number",),
        ("not-own-number",),
        (),
    ]


def test_the_feed_tools_texts_are_accepted_once_and_then_are_duplicates(ways_in: WaysIn, shared: Path) -> None:
    texts = fill(ways_in, shared, "--texts", "1500")
    first, again = ways_in.take(*texts), ways_in.take(*texts)
    assert (first.read, first.accepted) == (1500, 1500)
    assert {item.flags for item in first.items} == {(), ("late",)}
    assert (again.read, again.duplicates, again.root) == (1500, 1500, None)


def test_every_kind_of_stray_lands_where_the_table_says_and_none_is_lost(ways_in: WaysIn, shared: Path) -> None:
    lines = fill(ways_in, shared, "--texts", "3000", "--strays", "0.1", "--duplicates", "0.05")
    receipt = ways_in.take(*lines)
    found: dict[str, Counter[tuple[str, str | None]]] = {}
    for line, item in zip(lines, receipt.items, strict=True):
        found.setdefault(kind_of(line), Counter())[item.outcome, item.reason] += 1
    assert {kind: set(outcomes) for kind, outcomes in found.items() if kind not in ("text", "rewritten")} == {
        "mms": {("quarantined", "mms")},
        "abroad": {("quarantined", "international")},
        "from-abroad": {("quarantined", "international")},
        "not-json": {("quarantined", "unreadable")},
        "no-sender": {("quarantined", "malformed")},
        "future": {("quarantined", "future")},
        "expired": {("refused", "expired")},
        "too-long": {("quarantined", "too-long")},
        "group": {("quarantined", "group")},
    }
    assert set(found["text"]) == {("accepted", None), ("duplicate", None)}
    assert found["text"]["accepted", None] == 3000
    assert set(found["rewritten"]) <= {("version", None), ("duplicate", None)}
    assert found["rewritten"]["version", None] > 0
    assert receipt.read == len(lines) == sum(sum(outcomes.values()) for outcomes in found.values())
    counts = (receipt.accepted, receipt.versions, receipt.duplicates, receipt.quarantined, receipt.refused)
    assert receipt.read == sum(counts)


def fill(ways_in: WaysIn, shared: Path, *arguments: str) -> list[bytes]:
    """Load the feed tool's directory, and give its texts."""
    records = b"\n".join(feed(shared, ways_in.house, "--directory"))
    registrar = ways_in.principal("registrar")
    assert len(take_directory(ways_in.directory, ways_in.house.organisations, registrar, records)) == 81
    return feed(shared, ways_in.house, *arguments)


def kind_of(line: bytes) -> str:
    try:
        return str(json.loads(line).get("straykind", "text"))
    except ValueError:
        return "not-json"


def test_a_foreign_record_among_own_ones_is_quarantined_and_belongs_to_the_house(ways_in: WaysIn) -> None:
    receipt = ways_in.take(event(1), event(2, org_id="org-002"), b"{", orgs=["org-001"])
    assert [(item.outcome, item.reason) for item in receipt.items] == [
        ("accepted", None),
        ("quarantined", "unknown-organisation"),
        ("quarantined", "unreadable"),
    ]
    assert ways_in.quarantine.page(ways_in.principal("officer", ["org-001", "org-002"]), "audit", limit=9).items == []
    everything = ways_in.quarantine.page(ways_in.principal("officer"), "audit", limit=9).items
    assert [entry.org_id for entry in everything] == [None, None]


@pytest.mark.parametrize("foreign", ["org-002", "org-777"])
def test_a_request_that_names_only_foreign_organisations_is_refused_whole(ways_in: WaysIn, foreign: str) -> None:
    broken = event(2, org_id=foreign, **{"from": None})
    with pytest.raises(Forbidden):
        ways_in.take(event(1, org_id=foreign), broken, b"not JSON", orgs=["org-001"])
    with ways_in.house.store.reading() as connection:
        assert connection.execute(select(batches)).all() == []
    assert ways_in.take(broken, event(1), orgs=["org-001"]).quarantined == 1


def test_a_request_that_names_no_organisation_is_set_aside(ways_in: WaysIn) -> None:
    assert ways_in.take(b"not JSON", orgs=["org-001"]).quarantined == 1


def test_a_principal_of_every_organisation_is_never_refused_whole(ways_in: WaysIn) -> None:
    assert ways_in.take(event(1, org_id="org-777")).quarantined == 1


@pytest.mark.parametrize("role", ["officer", "registrar", "auditor", "operator", "counsel"])
def test_only_a_producer_may_push(ways_in: WaysIn, role: str) -> None:
    with pytest.raises(Forbidden):
        ways_in.intake.take(ways_in.principal(role), [raws(event(1))])


def test_several_requests_share_one_transaction_and_have_a_receipt_each(ways_in: WaysIn) -> None:
    receipts = ways_in.intake.take(ways_in.principal(), [raws(event(1)), raws(event(1), event(2))])
    assert [(receipt.accepted, receipt.duplicates) for receipt in receipts] == [(1, 0), (1, 1)]
    assert len({receipt.batch_id for receipt in receipts}) == 2
    stored = ways_in.house.vault.batch(receipts[0].batch_id)
    assert stored is not None
    assert stored.producer == PERSON


def test_a_request_of_too_many_records_is_refused_whole(ways_in: WaysIn) -> None:
    with pytest.raises(TooLarge):
        ways_in.intake.prepare(ways_in.principal(), [b"{}"] * (MAX_RECORDS + 1))


def test_nothing_of_a_record_is_shown_by_what_holds_it(ways_in: WaysIn) -> None:
    batch = ways_in.intake.prepare(ways_in.principal(), raws(event(1, body="SECRET-BODY")))
    assert "SECRET-BODY" not in repr(batch)
    assert PEER not in repr(batch)


@given(
    records=st.lists(st.binary(max_size=40) | st.integers(0, 5).map(lambda number: json.dumps(event(number)).encode()))
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_every_record_has_exactly_one_outcome(ways_in: WaysIn, records: list[bytes]) -> None:
    receipt = ways_in.take(*records)
    counts = (receipt.accepted, receipt.versions, receipt.duplicates, receipt.quarantined, receipt.refused)
    assert receipt.read == sum(counts) == len(records)
    assert [item.index for item in receipt.items] == list(range(len(records)))
