"""What a report says comes from what was found when it was found: it certifies no more, also after a crash."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.housing import event
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, evening
from textkeep.archive.erasure import Erasure, KnownCopy
from textkeep.errors import Outage
from textkeep.retention.purging.begun import BegunShelves
from textkeep.retention.purging.purge import Purge
from textkeep.store.tables import purges, texts_of

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)


class Killed(BaseException):
    """The process is gone."""


def killed_after(keeping: Keeping, step: str) -> None:
    """Run until a step is committed, and end there."""

    def told(_shelf: str, state: str) -> None:
        if state == step:
            raise Killed

    with pytest.raises(Killed):
        keeping.purge(OLDEST, told=told)
    keeping.restart()


@pytest.mark.parametrize("step", ["committed", "shredded", "dropped", "verified"])
def test_a_run_taken_up_again_reports_what_the_first_one_destroyed(keeping: Keeping, step: str) -> None:
    keeping.take(OLDEST, "merger", "lunch", "dinner")
    keeping.holders.place(query="merger")
    killed_after(keeping, step)
    assert keeping.run().stopped is None
    report = keeping.purging.report(OLDEST.shelf)
    assert (report["attempt"], report["verdict"]) == (2, "pass")
    assert (report["totals"]["kept"], report["totals"]["destroyed"]) == (1, 2)
    assert report["rows_dropped"]["texts"] == 3


def test_where_the_count_is_lost_the_report_says_unknown_and_never_nothing_destroyed(keeping: Keeping) -> None:
    keeping.take(OLDEST, "lunch")
    killed_after(keeping, "dropped")
    keeping.behind(update(purges).values(facts="damaged"))
    keeping.run()
    report = keeping.purging.report(OLDEST.shelf)
    assert (report["verdict"], report["totals"], report["rows_dropped"]) == ("unknown", "unknown", "unknown")
    assert report["keys"]["commitment"] == report["holds"] == report["witnesses"] == "unknown"


def test_each_organisation_has_its_own_totals_that_add_up(keeping: Keeping) -> None:
    one, other = keeping.holders.org("org-001").hex(), keeping.holders.org("org-002").hex()
    keeping.take(OLDEST, "merger", "lunch")
    mixed = [
        event(50, org_id="org-001", sent_at=evening(OLDEST), body="the merger again"),
        event(51, org_id="org-002", sent_at=evening(OLDEST), body="the merger of others"),
    ]
    keeping.purging.take_records(mixed)
    keeping.holders.place(query="merger")
    keeping.purge(OLDEST)
    report = keeping.purging.report(OLDEST.shelf)
    parts = {each["org"]: (each["kept"], each["destroyed"], each["lost"]) for each in report["organisations"]}
    assert parts == {one: (2, 1, 0), other: (0, 1, 0)}


def test_a_lost_slice_is_the_loss_of_whose_texts_it_held(keeping: Keeping) -> None:
    one, other = keeping.holders.org("org-001").hex(), keeping.holders.org("org-002").hex()
    keeping.take(OLDEST, "one", "two")
    keeping.take(OLDEST, "three", org="org-002")
    table = texts_of(OLDEST.shelf)
    tag = select(table.c.tag).where(table.c.org == keeping.holders.org("org-001")).limit(1).scalar_subquery()
    keeping.behind(delete(table).where(table.c.tag == tag))
    keeping.purge(OLDEST)
    report = keeping.purging.report(OLDEST.shelf)
    parts = {each["org"]: (each["kept"], each["destroyed"], each["lost"]) for each in report["organisations"]}
    assert (parts, report["verdict"]) == ({one: (0, 0, 2), other: (0, 1, 0)}, "fail")


def test_what_is_lost_between_decision_and_drop_is_moved_to_the_loss_of_its_organisation(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rows could not be kept as they were: somebody was in the way."""
    monkeypatch.setattr(BegunShelves, "counting", lambda *_: None)
    one, other = keeping.holders.org("org-001").hex(), keeping.holders.org("org-002").hex()
    keeping.take(OLDEST, "one", "two")
    keeping.take(OLDEST, "three", org="org-002")
    table = texts_of(OLDEST.shelf)
    steal = keeping.told_at(
        "shredded", lambda: keeping.behind(delete(table).where(table.c.org == keeping.holders.org("org-002")))
    )
    keeping.purge(OLDEST, told=steal)
    report = keeping.purging.report(OLDEST.shelf)
    parts = {each["org"]: (each["kept"], each["destroyed"], each["lost"]) for each in report["organisations"]}
    assert parts == {one: (0, 2, 0), other: (0, 0, 1)}
    assert (report["totals"]["destroyed"], report["totals"]["lost"]) == (2, 1)


def test_of_a_lost_slice_of_several_with_a_part_kept_nobody_says_whose_was_lost(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BegunShelves, "counting", lambda *_: None)
    mixed = [
        event(50, org_id="org-001", sent_at=evening(OLDEST), body="the merger"),
        event(51, org_id="org-002", sent_at=evening(OLDEST), body="lunch"),
        event(52, org_id="org-002", sent_at=evening(OLDEST), body="dinner"),
    ]
    keeping.purging.take_records(mixed)
    keeping.purging.index.create([OLDEST.shelf])
    keeping.holders.place(query="merger")
    table = texts_of(OLDEST.shelf)
    tag = select(table.c.tag).where(table.c.org == keeping.holders.org("org-002")).limit(1).scalar_subquery()
    keeping.purge(OLDEST, told=keeping.told_at("kept", lambda: keeping.behind(delete(table).where(table.c.tag == tag))))
    report = keeping.purging.report(OLDEST.shelf)
    assert (report["totals"]["kept"], report["totals"]["lost"]) == (1, 2)
    assert {part for each in report["organisations"] for part in (each["kept"], each["destroyed"], each["lost"])} == {
        "unknown"
    }


def test_every_report_names_the_holds_that_nobody_reviewed_whosever_they_are(keeping: Keeping) -> None:
    keeping.holders.org("org-002")
    late = keeping.holders.place(org_id="org-002", by=everybody(keeping), days=1, query="x").hold
    keeping.holders.place(days=100)
    keeping.take(OLDEST, "lunch")
    keeping.house.clock.forward(days=1)
    assert keeping.run(signed=keeping.purging.ledger).stopped is None
    [named] = keeping.purging.report(OLDEST.shelf)["reviews_overdue"]
    assert (named["hold"], named["org"]) == (late.id, keeping.holders.org("org-002").hex())
    [entry] = [each for each in keeping.purging.entries("hold") if each.body["hold"] == late.id]
    assert named["entry"] == entry.index


def everybody(keeping: Keeping) -> Any:
    return keeping.holders.person("Olivia", "officer", orgs=None)


class Told:
    """What is said of the keyring's copies."""

    def __init__(self, say: Callable[[], Erasure]) -> None:
        self._say = say

    def of(self, name: str) -> Erasure:
        assert name == f"shelf:{OLDEST.shelf}"
        return self._say()


def test_the_report_names_every_copy_of_the_keyring_and_when_the_last_one_opens_for_nobody(keeping: Keeping) -> None:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    copies = (
        KnownCopy("aa", at - timedelta(days=7), at, "pkcs11", at),
        KnownCopy("bb", at - timedelta(days=6), at, "local", None),
    )
    report = reported(keeping, lambda: Erasure(copies, at, "two backups hold it"))
    assert (report["erased_at"], report["erased_at_reason"]) == ("2026-11-29T00:00:00.000Z", "two backups hold it")
    assert report["keys"]["copies"] == [
        {
            "id": "aa",
            "made_at": "2026-11-22T00:00:00.000Z",
            "expires_at": "2026-11-29T00:00:00.000Z",
            "root_kind": "pkcs11",
            "ends_at": "2026-11-29T00:00:00.000Z",
        },
        {
            "id": "bb",
            "made_at": "2026-11-23T00:00:00.000Z",
            "expires_at": "2026-11-29T00:00:00.000Z",
            "root_kind": "local",
            "ends_at": "unknown",
        },
    ]


def test_where_the_copies_cannot_be_asked_for_the_report_says_so_and_is_written(keeping: Keeping) -> None:
    def silent() -> Erasure:
        raise Outage("the key service does not answer")

    report = reported(keeping, silent)
    assert report["erased_at"] == "unknown"
    assert report["erased_at_reason"].endswith("the key service does not answer")


def reported(keeping: Keeping, say: Callable[[], Erasure]) -> dict[str, Any]:
    """The report of a day, where that is said of its secret."""
    purging, house = keeping.purging, keeping.house
    purging.until(OLDEST.due())
    purge = Purge(
        house.store,
        house.shelves,
        house.keyring,
        purging.index,
        keeping.in_force,
        purging.chain,
        purging.mark(),
        house.clock,
        erasures=Told(say),
    )
    assert purge.run(house.clock()).stopped is None
    return purging.report(OLDEST.shelf)


def test_what_comes_too_late_after_the_count_is_not_counted_and_not_named(keeping: Keeping) -> None:
    """The entries that a report names are exactly those behind its numbers, whenever they were signed."""
    keeping.take(OLDEST, "lunch")
    refuse = [event(90, sent_at=OLDEST.start().isoformat())]
    keeping.purging.take_records(refuse)
    late = keeping.told_at("dropped", lambda: keeping.purging.take_records([event(91, sent_at=evening(OLDEST))]))
    keeping.purge(OLDEST, told=late, signed=keeping.purging.ledger)
    first, second = keeping.purging.entries("refusals", shelf=OLDEST.shelf)
    refusals = keeping.purging.report(OLDEST.shelf)["refusals"]
    assert (refusals["count"], refusals["entries"]) == (1, [[first.index, first.index]])
    assert second.index is not None


def test_the_report_carries_a_time_token_and_says_by_what_its_times_are_told(keeping: Keeping) -> None:
    class Stamping:
        """The ledger, with a time authority that answers."""

        def __getattr__(self, name: str) -> Any:
            return getattr(keeping.purging.ledger, name)

        def time_token(self, note: bytes) -> str:
            return f"over {len(note)} bytes"

    keeping.take(OLDEST, "lunch")
    keeping.purge(OLDEST, signed=Stamping())
    report = keeping.purging.report(OLDEST.shelf)
    [decision] = [each for each in report["signed"]["checkpoints"] if each["of"] == "decision"]
    assert report["time_token"] == f"over {len(decision['note'].encode())} bytes"
    assert report["time"].startswith("host clock, and")


def test_a_time_authority_that_gave_no_token_is_told_from_none_being_set(keeping: Keeping) -> None:
    class Stamping:
        """The ledger, with a time authority that does not answer."""

        def __getattr__(self, name: str) -> Any:
            return getattr(keeping.purging.ledger, name)

        def time_token(self, _note: bytes) -> str:
            raise Outage("the time authority does not answer")

    keeping.take(OLDEST, "lunch")
    assert keeping.purge(OLDEST, signed=Stamping()).stopped is None
    report = keeping.purging.report(OLDEST.shelf)
    assert report["time_token"] is None
    assert "a time authority is set, and gave no token" in report["time"]


def test_the_entries_named_were_inside_the_checkpoint_that_the_report_names(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    hold = keeping.holders.place(query="merger").hold
    keeping.purge(OLDEST, signed=keeping.purging.ledger)
    keeping.released(hold, signed=keeping.purging.ledger)
    for name in (OLDEST.shelf, keeping.generation(1)):
        report = keeping.purging.report(name)
        sizes = {each["of"]: each["size"] for each in report["signed"]["checkpoints"]}
        assert list(sizes) == ["entries", "intent", "decision", "written"]
        at = {step["step"]: step["entry"] for step in report["steps"]}
        assert (
            at["intent"] < sizes["intent"] <= at["committed"] < sizes["decision"] <= at["shredded"] < sizes["written"]
        )
        assert all(last < sizes["entries"] for _, last in report["slices"]["entries"])
        assert f"checkpoint of {sizes['written']} entries" in report["signed"]["says"]
    [release] = report["responsible"]["releases"]
    assert (release["asked_by"], release["approved_by"]) == (
        keeping.holders.counsel.person.hex(),
        keeping.holders.approver.person.hex(),
    )
    [entry] = keeping.purging.entries("release")
    assert release["entry"] == entry.index
