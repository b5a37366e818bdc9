"""Whether an archive has kept its promises: every acknowledged text once, every day's totals adding up.

Counts come from the tables themselves and not from the archive's own counting.
"""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tests.whole.promises import WORD, Promises, Sent
from textkeep.access.principal import Principal
from textkeep.archive.rows import open_row
from textkeep.archive.shelf import Day, expired
from textkeep.archive.text import Handle, TextId, leaf
from textkeep.ledger import log, tree
from textkeep.service.wiring import Archive
from textkeep.store.bulk import TextRow
from textkeep.store.tables import papers_name, texts_name

OFFICER = Principal(b"\x07" * 8, "token-1", frozenset({"officer"}), None)


@dataclass
class Reckoned:
    """What was found: the ids of the stored texts by organisation and message id, the days by state."""

    stored: dict[tuple[str, str], TextId] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    reported: list[str] = field(default_factory=list)


def reckon(archive: Archive, promises: Promises, *, reports: int | None = None) -> Reckoned:
    """Hold an archive that has caught up against what it has promised. `reports` None: read every report there is."""
    found = Reckoned()
    with archive.store.reading() as connection:
        tables = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
        written = _by_shelf(log.entries(connection, kinds=("slice", "quarantine")))
        for row in archive.shelves.list(connection):
            assert row.state in ("open", "reported"), (row.name, row.state)
            if row.state == "open":
                found.open.add(row.name)
                _reckon_open(archive, connection, row.name, written[row.name], found)
            else:
                found.reported.append(row.name)
                assert not tables & {texts_name(row.name), papers_name(row.name)}, row.name
        aside = _set_aside(archive, connection, promises, written, found)
    _check_promises(archive, promises, found, aside)
    _check_index(archive, found)
    _check_keyring(archive, promises, found)
    for shelf in found.reported[-reports:] if reports else found.reported:
        _check_report(archive, promises, shelf)
    return found


def _by_shelf(entries: list[log.Entry]) -> dict[str, list[log.Entry]]:
    by_shelf: dict[str, list[log.Entry]] = defaultdict(list)
    for entry in entries:
        by_shelf[str(entry.shelf)].append(entry)
    return by_shelf


def _reckon_open(
    archive: Archive, connection: Connection, shelf: str, written: list[log.Entry], found: Reckoned
) -> None:
    """Slices = rows = ledger entries, each with the root of its own set; every row opens."""
    columns = ", ".join(TextRow._fields)
    rows = [TextRow(*row) for row in _all(connection, f"SELECT {columns} FROM {texts_name(shelf)}")]  # noqa: S608
    wanted = "SELECT id, accepted, versions, root, indexed FROM slices WHERE shelf = ?"
    slices = {row[0]: row[1:] for row in _all(connection, wanted, shelf)}
    taken = {int(entry.body["slice"], 16): entry.body for entry in written if entry.kind == "slice"}
    leaves: dict[int, list[bytes]] = defaultdict(list)
    for row in rows:
        opened = open_row(archive.sealer, shelf, row)
        leaves[row.slice].append(leaf(row.org, row.commitment))
        name = (archive.organisations.name(Handle(row.org)), opened.event.id)
        assert name not in found.stored, ("stored twice", shelf)
        found.stored[name] = opened.id
    assert slices.keys() == leaves.keys() == taken.keys(), shelf
    for slice_id, body in taken.items():
        count, root = len(leaves[slice_id]), tree.root_of_set(leaves[slice_id])
        assert slices[slice_id] == (count, 0, root, True), shelf
        assert (body["accepted"], body["versions"], body["root"]) == (count, 0, root.hex()), shelf


def _all(connection: Connection, statement: str, *values: str) -> list[Any]:
    """Rows as the driver gives them: this is asked for each of some 430 shelves."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _set_aside(
    archive: Archive,
    connection: Connection,
    promises: Promises,
    written: dict[str, list[log.Entry]],
    found: Reckoned,
) -> set[str]:
    """The message ids of the quarantined records that open; as many as the ledger says."""
    ids: set[str] = set()
    for shelf in {sent.shelf for sent in promises.sent.values() if sent.picture} & found.open:
        papers = list(archive.papers.of_kind(connection, shelf, "quarantine"))
        counts = [entry.body["count"] for entry in written[shelf] if entry.kind == "quarantine"]
        assert sum(counts) == len(papers), shelf
        ids |= {json.loads(paper.plain.split(b"\n", 1)[1])["id"] for paper in papers}
    return ids


def _check_promises(archive: Archive, promises: Promises, found: Reckoned, aside: set[str]) -> None:
    sent = {(each.org, each.id): each for each in promises.sent.values() if not each.picture}
    assert found.stored.keys() <= sent.keys(), "something is stored that nobody sent"
    for name, text_id in found.stored.items():
        assert text_id.day.isoformat() == sent[name].shelf
    for each in promises.taken():
        if each.shelf in found.open:
            assert (each.org, each.id) in found.stored, ("acknowledged and lost", each)
        else:
            assert each.shelf in found.reported, each.shelf
            assert expired(each.sent_at, archive.clock()), ("gone too early", each)
    for each in promises.set_aside():
        assert each.id in aside or each.shelf not in found.open, ("acknowledged and lost", each)


def _check_index(archive: Archive, found: Reckoned) -> None:
    by_shelf: dict[str, set[TextId]] = {}
    for text_id in found.stored.values():
        by_shelf.setdefault(text_id.day.isoformat(), set()).add(text_id)
    for shelf, ids in by_shelf.items():
        assert set(archive.index.ids(shelf)) == ids, shelf
    assert not [shelf for shelf in found.reported if archive.index.exists(shelf)]


def _check_keyring(archive: Archive, promises: Promises, found: Reckoned) -> None:
    secrets = archive.keyring.names()
    assert {f"shelf:{shelf}" for shelf in found.open} <= secrets
    assert {f"shelf:{shelf}" for shelf in found.reported} == set(archive.keyring.tombstones())
    handles = archive.organisations.all()
    assert set(promises.orgs) <= handles.keys()
    assert {f"org:{handle.hex()}" for handle in handles.values()} <= secrets
    roots = list((archive.settings.keyring_folder / "roots").iterdir())
    assert [root.name for root in roots] == [archive.keyring.status().root]


def _check_report(archive: Archive, promises: Promises, shelf: str) -> None:
    report: dict[str, Any] = json.loads(archive.chain.read(shelf))
    totals = report["totals"]
    assert totals["taken"] == totals["kept"] + totals["destroyed"] + totals["lost"], shelf
    assert (totals["lost"], totals["kept"], report["verdict"]) == (0, 0, "pass"), (shelf, report)
    acknowledged = sum(1 for each in promises.taken() if each.shelf == shelf)
    sent = sum(1 for each in promises.sent.values() if each.shelf == shelf and not each.picture)
    assert acknowledged <= totals["taken"] <= sent, (shelf, acknowledged, totals["taken"], sent)


def check_findable(archive: Archive, promises: Promises, found: Reckoned, orgs: Collection[str], *bounds: str) -> None:
    """Search for every text of some organisations, between some bounds; each must be found, and once."""
    now = archive.clock()
    by_id = {text_id: promises.sent[message_id] for (_, message_id), text_id in found.stored.items()}
    for bound in bounds or ("",):
        there = {text_id: sent for text_id, sent in by_id.items() if _within(sent, bound)}
        for org in orgs:
            wanted = {text_id for text_id, sent in there.items() if sent.org == org and not expired(sent.sent_at, now)}
            counts = Counter(_search(archive, org, f"{WORD} {bound}".strip()))
            assert counts == Counter(wanted), (bound, org)


def _within(sent: Sent, bound: str) -> bool:
    field_, _, day = bound.partition(":")
    return not bound or (sent.shelf < day if field_ == "before" else sent.shelf >= day)


def _search(archive: Archive, org: str, query: str) -> list[TextId]:
    handle, cursor, ids = archive.organisations.all()[org], None, []
    while True:
        page = archive.finder.find(OFFICER, query, reason="a test", org=handle, limit=200, cursor=cursor)
        ids += [text.id for text in page.results]
        cursor = page.cursor
        if cursor is None:
            return ids


def bounds_of(archive: Archive, days: int) -> tuple[str, str]:
    """The oldest and the newest days, as bounds of a search."""
    today = Day.of(archive.clock())
    oldest = Day.of(archive.clock() - timedelta(days=400))
    return f"before:{oldest.plus(days).shelf}", f"after:{today.plus(-days).shelf}"


def catch_up(archive: Archive) -> None:
    """What a service does by itself after its start: index what waits, and take up a purge that was cut off."""
    archive.shelves.ensure(archive.clock())
    result = archive.purge.run(archive.clock())
    assert result.stopped is None, result.stopped
    while archive.follower.step():
        continue
    assert archive.unindexed_since() is None
    assert archive.follower.damaged == 0


def copy_of(prepared: Path, folder: Path) -> Path:
    """A copy of an archive and its keyring in a folder; gives the archive's."""
    for name in ("archive", "archive-keyring"):
        shutil.copytree(prepared / name, folder / name)
    return folder / "archive"
