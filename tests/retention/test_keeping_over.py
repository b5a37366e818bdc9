"""What holds cover survives its day: exactly that, exactly as it was, and once."""

from typing import Any

import pytest
from sqlalchemy import func, select, update

from tests.housing import event
from tests.retention.holding import ORG
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST, evening, lines_of
from textkeep.archive.rows import seal_again
from textkeep.archive.shelf import Generation
from textkeep.archive.text import HOUSE, leaf
from textkeep.ledger import tree
from textkeep.retention.holds import undecided
from textkeep.retention.purging.days import day_rows
from textkeep.store.evidence import kept_papers, kept_slices, leaves
from textkeep.store.tables import papers_of, slices, texts_of

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)


def test_covered_texts_move_to_the_shelf_of_held_texts_exactly_as_they_were(keeping: Keeping) -> None:
    keeping.take(OLDEST, "the merger is on", "lunch?", "merger again")
    keeping.take(OLDEST, "merger of others", org="org-002")
    before = {each.id: each for each in keeping.texts(OLDEST.shelf)}
    keeping.holders.place(query="merger")
    result = keeping.purge(OLDEST)
    assert (result.stopped, result.days[0].kept, result.days[0].destroyed, result.days[0].lost) == (None, 2, 2, 0)
    shelf = keeping.kept_shelf()
    assert shelf == keeping.generation(1)
    assert keeping.bodies(shelf) == ["merger again", "the merger is on"]
    for text in keeping.texts(shelf):
        was = before[text.id]
        assert (text.raw, text.commitment, text.received_at, text.flags) == (
            was.raw,
            was.commitment,
            was.received_at,
            was.flags,
        )
        assert text.slice != was.slice


def test_the_ledger_says_of_each_kept_slice_where_it_came_from_and_with_which_leaves(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger one", "lunch")
    keeping.take(OLDEST, "merger two")
    sources = {row["id"] for row in keeping.rows(slices)}
    keeping.holders.place(query="merger")
    keeping.purge(OLDEST)
    shelf = keeping.kept_shelf()
    entries = keeping.purging.entries("kept", shelf=shelf)
    texts = {text.slice: text for text in keeping.texts(shelf)}
    assert {int(entry.body["from_slice"], 16) for entry in entries} == sources
    kept = {row["slice"]: row for row in keeping.rows(kept_slices)}
    stored = {row["id"]: row["hashes"] for row in keeping.rows(leaves)}
    for entry in entries:
        text = texts[int(entry.body["slice"], 16)]
        hashed = leaf(text.org, text.commitment)
        assert (entry.body["from"], entry.body["accepted"], entry.body["versions"]) == (OLDEST.shelf, 1, 0)
        assert entry.body["root"] == tree.root_of_set([hashed]).hex()
        assert stored[entry.body["slice"]] == hashed
        assert kept[text.slice]["source_slice"] == int(entry.body["from_slice"], 16)
        assert entry.body["orgs"] == {text.org.hex(): [1, 0]}


def test_the_report_tells_what_each_hold_did(keeping: Keeping) -> None:
    keeping.take(OLDEST, "the merger is on", "lunch?", "dinner")
    one = keeping.holders.place(query="merger", days=100).hold
    both = keeping.holders.place(query="merger OR lunch", days=100).hold
    none = keeping.holders.place(users=("nobody",), days=100).hold
    keeping.purge(OLDEST, signed=keeping.purging.ledger)
    report = keeping.purging.report(OLDEST.shelf)
    assert report["verdict"] == "pass"
    assert (report["totals"]["kept"], report["totals"]["destroyed"]) == (2, 1)
    told = {each["id"]: (each["examined"], each["kept"], each["undecided"]) for each in report["holds"]["holds"]}
    assert told == {one.id: (3, 1, 0), both.id: (3, 2, 0), none.id: (3, 0, 0)}
    assert (report["holds"]["examined"], report["holds"]["kept"], report["holds"]["undecided"]) == (3, 2, 0)
    places = {entry.seq: entry.index for entry in keeping.purging.entries("hold")}
    wanted = {each.id: places[each.entry] for each in (one, both, none)}
    assert {each["id"]: each["entry"] for each in report["holds"]["holds"]} == wanted


def test_a_text_that_many_holds_cover_is_kept_once(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    for _ in range(5):
        keeping.holders.place(query="merger")
    keeping.purge(OLDEST)
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]
    assert keeping.purging.report(OLDEST.shelf)["totals"]["kept"] == 1


def test_versions_are_kept_one_by_one_with_the_flags_that_follow_from_one_another(keeping: Keeping) -> None:
    for body in ("the first merger", "nothing of it"):
        keeping.purging.take_records([event(1, sent_at=evening(OLDEST), body=body)])
    keeping.holders.place(query="merger")
    keeping.purge(OLDEST)
    [kept] = keeping.texts(keeping.kept_shelf())
    assert (kept.id.version, kept.event.data.body, kept.flags) == (1, "the first merger", ("rewritten",))


def test_a_hold_that_asks_for_a_flag_finds_what_is_flagged_by_a_later_version(keeping: Keeping) -> None:
    for body in ("before", "after"):
        keeping.purging.take_records([event(900, sent_at=evening(OLDEST), body=body)])
    keeping.take(OLDEST, "another")
    keeping.holders.place(query="flag:rewritten")
    keeping.purge(OLDEST)
    assert keeping.bodies(keeping.kept_shelf()) == ["after", "before"]


def test_each_organisation_has_its_own_shelf(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger of one")
    keeping.take(OLDEST, "merger of two", org="org-002")
    keeping.holders.place(query="merger")
    other = keeping.holders.person("Otto", "officer", orgs=("org-002",))
    keeping.holders.place(by=other, org_id="org-002")
    keeping.purge(OLDEST)
    assert keeping.bodies(keeping.kept_shelf()) == ["merger of one"]
    assert keeping.bodies(keeping.kept_shelf("org-002")) == ["merger of two"]
    assert {row["source_shelf"] for row in keeping.rows(kept_slices)} == {OLDEST.shelf}


def test_a_shelf_of_held_texts_is_due_on_no_day_and_never_purged_by_time(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    keeping.holders.place(query="merger")
    keeping.purge(OLDEST)
    keeping.purging.until(OLDEST.plus(2).due())
    result = keeping.run()
    assert result.released == ()
    assert keeping.state(keeping.kept_shelf()) == "open"
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]


def test_quarantined_records_are_kept_by_organisation_and_date_with_id_and_commitment(keeping: Keeping) -> None:
    kept = keeping.set_aside(OLDEST, "merger")
    keeping.set_aside(OLDEST, "merger", org_id="org-002")
    [before] = [paper for paper in keeping.papers(OLDEST.shelf) if paper.id.hex() == kept]
    keeping.holders.place()
    keeping.purge(OLDEST)
    [after] = keeping.papers(keeping.kept_shelf())
    assert (after.id, after.commitment, after.plain, after.salt, after.made_at) == (
        before.id,
        before.commitment,
        before.plain,
        before.salt,
        before.made_at,
    )
    [entry] = keeping.purging.entries("kept")
    assert (entry.body["papers"], entry.body["undecided"], entry.body["from"]) == (1, 0, OLDEST.shelf)
    assert entry.body["root"] == tree.root_of_set([leaf(after.org, after.commitment)]).hex()
    assert [(row["shelf"], row["source_shelf"]) for row in keeping.rows(kept_papers)] == [
        (keeping.kept_shelf(), OLDEST.shelf)
    ]
    holds = keeping.purging.report(OLDEST.shelf)["holds"]
    assert (holds["records_examined"], holds["records_kept"], holds["records_undecided"]) == (2, 1, 0)


def test_an_unreadable_record_of_nobody_is_kept_on_the_shelf_of_the_house(keeping: Keeping) -> None:
    clock = keeping.house.clock
    keeping.holders.place()
    now, clock.now = clock.now, OLDEST.start()
    keeping.holders.take(b"{not json", verdict="quarantine", reason="unreadable", org=None)
    clock.now = now
    assert len(keeping.papers(OLDEST.shelf)) == 1
    keeping.purge(OLDEST)
    assert keeping.state(OLDEST.shelf) == "reported"
    [paper] = keeping.papers(keeping.kept_shelf(None))
    assert paper.plain.endswith(b"{not json")
    assert paper.org == HOUSE


def damage(keeping: Keeping, shelf: str, **columns: Any) -> None:
    keeping.behind(update(texts_of(shelf)).values(columns))


def test_a_text_that_does_not_open_is_carried_over_whole_and_named(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger or not")
    [was] = keeping.texts(OLDEST.shelf)
    table = texts_of(OLDEST.shelf)
    with keeping.house.store.reading() as connection:
        sealed = bytes(connection.execute(select(table.c.sealed)).scalar_one())
    damage(keeping, OLDEST.shelf, sealed=sealed[:-1] + bytes([sealed[-1] ^ 1]))
    hold = keeping.holders.place(query="lunch").hold
    keeping.purge(OLDEST)
    shelf = keeping.kept_shelf()
    [paper] = keeping.papers(shelf, "undecided")
    header, opened = undecided.read(paper.plain)
    assert was.raw in opened
    assert (header.what, header.shelf, header.slice) == ("text", OLDEST.shelf, f"{was.slice:016x}")
    assert header.leaf == leaf(was.org, was.commitment).hex()
    report = keeping.purging.report(OLDEST.shelf)
    assert lines_of(report, "steps")["kept"] == "unknown"
    assert report["holds"]["slices"] == [f"{was.slice:016x}"]
    [told] = report["holds"]["holds"]
    assert (told["id"], told["kept"], told["undecided"]) == (hold.id, 1, 1)
    assert (report["totals"]["taken"], report["totals"]["kept"], report["totals"]["lost"]) == (1, 1, 0)


def test_a_damaged_text_of_a_day_that_no_hold_reaches_is_not_kept(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger or not")
    damage(keeping, OLDEST.shelf, sealed=b"\x01" + bytes(60))
    keeping.holders.place(after=OLDEST.end())
    keeping.purge(OLDEST)
    assert keeping.papers(keeping.kept_shelf(), "undecided") == []


def test_a_text_whose_organisation_was_altered_may_be_anybodys_and_is_kept(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    other = keeping.holders.org("org-002")
    damage(keeping, OLDEST.shelf, org=bytes(other))
    keeping.holders.place(query="merger")
    keeping.purge(OLDEST)
    [paper] = keeping.papers(keeping.kept_shelf(None), "undecided")
    assert undecided.read(paper.plain)[0].org is None
    report = keeping.purging.report(OLDEST.shelf)
    assert report["holds"]["undecided"] == 1
    assert report["verdict"] == "fail"


def test_a_damaged_record_in_quarantine_is_kept_as_long_as_any_hold_is_in_force(keeping: Keeping) -> None:
    keeping.set_aside(OLDEST, "who knows", org_id="org-002")
    keeping.behind(update(papers_of(OLDEST.shelf)).values(size=5))
    keeping.holders.place()
    keeping.purge(OLDEST)
    [paper] = keeping.papers(keeping.kept_shelf(None), "undecided")
    header, opened = undecided.read(paper.plain)
    assert header.what == "record"
    assert b"who knows" in opened
    assert keeping.purging.report(OLDEST.shelf)["holds"]["records_undecided"] == 1


def test_a_hold_placed_between_kept_and_committed_keeps_its_texts(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    keeping.holders.place(query="merger")
    heard: list[str] = []

    def place() -> None:
        keeping.holders.place(query="lunch")

    at_witnessed = keeping.told_at("witnessed", place)

    def told(shelf: str, state: str) -> None:
        heard.append(state)
        at_witnessed(shelf, state)

    keeping.purge(OLDEST, told=told)
    assert heard[:7] == ["intent", "kept", "witnessed", "intent", "kept", "witnessed", "committed"]
    assert keeping.bodies(keeping.kept_shelf()) == ["lunch", "merger"]
    report = keeping.purging.report(OLDEST.shelf)
    assert (report["totals"]["kept"], report["totals"]["destroyed"], report["verdict"]) == (2, 0, "pass")
    assert len(keeping.purging.entries("kept")) == 2


def test_a_hold_placed_after_committed_comes_too_late_and_keeps_nothing(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    placed = []
    told = keeping.told_at("committed", lambda: placed.append(keeping.holders.place(query="merger")))
    keeping.purge(OLDEST, told=told)
    assert placed[0].reach.too_late == (OLDEST.shelf,)
    assert keeping.purging.report(OLDEST.shelf)["totals"]["destroyed"] == 1


def test_keeping_again_adds_nothing_twice(keeping: Keeping) -> None:
    keeping.take(OLDEST, *[f"merger {number}" for number in range(7)])
    keeping.take(OLDEST, "merger", "lunch")
    keeping.set_aside(OLDEST, "merger")
    keeping.holders.place(query="merger")

    class Stop(Exception):
        pass

    def stop(_shelf: str, state: str) -> None:
        if state == "kept":
            raise Stop

    with pytest.raises(Stop):
        keeping.purge(OLDEST, told=stop)
    shelf, in_force = keeping.kept_shelf(), keeping.in_force
    before = (keeping.texts(shelf), keeping.ids(shelf, "quarantine"), len(keeping.purging.entries("kept")))
    with keeping.house.store.transaction() as connection:
        keeping.house.shelves.set_state(connection, OLDEST.shelf, "intent")
    again = [in_force.keep(keeping.house.store.transaction, OLDEST.shelf) for _ in range(2)]
    assert (keeping.texts(shelf), keeping.ids(shelf, "quarantine"), len(keeping.purging.entries("kept"))) == before
    assert {(each.kept, each.examined, each.records_kept) for each in again} == {(8, 9, 1)}
    keeping.purging.leases.clear()
    assert keeping.run().stopped is None
    assert keeping.purging.report(OLDEST.shelf)["totals"]["kept"] == 8


def test_a_large_day_is_carried_over_in_portions(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textkeep.retention.holds.keeping_over.TEXTS_AT_ONCE", 100)
    for part in range(6):
        keeping.take(OLDEST, *[f"merger {part} {number}" for number in range(60)])
    keeping.holders.place(query="merger")
    keeping.purge(OLDEST)
    assert len(keeping.bodies(keeping.kept_shelf())) == 360
    assert keeping.purging.report(OLDEST.shelf)["totals"]["kept"] == 360


def test_nothing_is_carried_over_where_no_hold_is_in_force(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger")
    keeping.purge(OLDEST)
    assert keeping.purging.entries("kept") == []
    with keeping.house.store.reading() as connection:
        assert keeping.house.shelves.generations(connection, None) == []


def test_what_is_carried_over_and_does_not_read_back_stops_the_purge(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping.take(OLDEST, "merger")
    keeping.holders.place(query="merger")
    sealed = seal_again

    def spoiled(*args: Any, **how: Any) -> Any:
        return [row._replace(sealed=row.sealed[:-1] + b"\0") for row in sealed(*args, **how)]

    with monkeypatch.context() as patch:
        patch.setattr("textkeep.retention.holds.carrying.seal_again", spoiled)
        result = keeping.purge(OLDEST)
    assert result.stopped is not None
    assert keeping.state(OLDEST.shelf) == "intent"
    assert keeping.bodies(OLDEST.shelf) == ["merger"]
    keeping.purging.leases.clear()
    assert keeping.run().stopped is None
    assert keeping.bodies(keeping.kept_shelf()) == ["merger"]


def test_the_day_rows_tell_what_is_kept_before_and_after_the_decision(keeping: Keeping) -> None:
    keeping.take(OLDEST, "merger", "lunch")
    keeping.holders.place(query="merger")
    seen: list[int | None] = []

    def told(_shelf: str, _state: str) -> None:
        with keeping.house.store.reading() as connection:
            seen.append(day_rows(connection, [OLDEST])[0].kept)

    keeping.purge(OLDEST, told=told)
    assert seen == [0, 1, 1, 1, 1, 1, 1, 1]


def test_generations_are_named_by_handle_and_number(keeping: Keeping) -> None:
    org = keeping.holders.org()
    first = keeping.house.shelves.ensure_kept(org, keeping.house.clock())
    assert first == Generation(org, 1).shelf == f"kept-{org.hex()}-1"
    assert keeping.house.shelves.ensure_kept(org, keeping.house.clock()) == first
    with keeping.house.store.reading() as connection:
        counted = connection.execute(select(func.count()).select_from(texts_of(first))).scalar_one()
    assert counted == 0
    assert ORG not in first
