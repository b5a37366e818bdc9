"""Every copy of the data that was made before a purge, and the keyring as it is after it: nothing comes back.

The keyring of before opens the same rows, so what closes them is the purge.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from tests.housing import NOON, SetClock
from tests.whole.canaries import EXCHANGE, MARK, NUMBERS, phone, scan, user_id, word
from tests.whole.living import ORG, location, organisation, register, user
from tests.whole.many_archives import migrated, private
from tests.whole.many_copies import REPOSITORY, RESTORING, Copies, KeyringCopy, every_key, opens, rows_of
from tests.whole.provoking import canary_text, set_aside
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring, SecretDestroyed
from textkeep.archive.papers import Papers
from textkeep.archive.rows import open_row
from textkeep.archive.sealing import CannotOpen, Sealer
from textkeep.archive.shelf import Day
from textkeep.archive.text import Handle, TextId
from textkeep.errors import Unsound
from textkeep.search.documents import folded_user
from textkeep.search.tokens import Tokens
from textkeep.search.words import words
from textkeep.service.wiring import Archive

GOING: Final = Day.of(NOON).plus(-400)
"""The day that is due at the next midnight."""

STAYING: Final = GOING.plus(200)
TEXTS: Final = 120
"""Texts of the day that goes; as many lie on others. The first half is in the base backup, the rest in the log."""

PREFIX: Final = "copies"
KNOWN: Final = 7
"""The number of a text whose words, user and numbers somebody knows."""


@dataclass
class After:
    """What an attacker may have after the purge, and, to show that the tests can fail, the keyring of before."""

    copies: Copies
    databases: dict[str, str]
    org: Handle
    tokens: dict[str, str]
    before: KeyringCopy
    after: KeyringCopy


def texts(archive: Archive, numbers: range) -> None:
    """Texts of which nothing may be seen, of the day that goes and of others."""
    moments = [GOING.end() - timedelta(minutes=1 + number % 100) for number in numbers]
    others = [STAYING.plus(number % 5).start() + timedelta(minutes=number) for number in numbers]
    records = [canary_text(number, moment) for number, moment in zip(numbers, moments, strict=True)]
    records += [canary_text(number + TEXTS, moment) for number, moment in zip(numbers, others, strict=True)]
    (receipt,) = archive.intake.take(archive.local, [[json.dumps(record).encode() for record in records]])
    assert receipt.accepted == 2 * len(numbers), receipt
    while archive.follower.step():
        continue


def known_tokens(keyring: Keyring, org: Handle) -> dict[str, str]:
    """What stands in the index for what somebody knows of one text. Raises SecretDestroyed."""
    made = Tokens(keyring).of(GOING.shelf, org)
    known = {"word": words(word(KNOWN))[0], "user": folded_user(user_id(KNOWN)), "from": phone(KNOWN)}
    return {field: made.of(field, value) for field, value in known.items()}


@pytest.fixture(scope="module")
def after(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[After]:
    folder = tmp_path_factory.mktemp("copies")
    with (
        private(request, PostgresServer, archive=True) as server,
        private(request, PostgresServer) as keys,
        private(request, OpenSearchNodes, 1) as nodes,
    ):
        restored = PostgresServer(settings={"restore_command": RESTORING})
        try:
            shared = migrated(server, keys, folder / "archive", f"{nodes.address}/{PREFIX}")
            copies = Copies(folder / "copied", server, restored, nodes, shared)
            copies.folder.mkdir()
            yield purged(copies)
        finally:
            restored.end()


def purged(copies: Copies) -> After:
    """Load, copy everything, and purge."""
    clock = SetClock(NOON - timedelta(days=1))
    with closing(Archive.open(copies.shared.service, clock)) as archive:
        archive.mark.tick()
        clock.now = NOON
        archive.shelves.ensure(NOON)
        assert len(archive.purge.run().days) == 1  # a day without a text, so that there is a report among the files
        register(archive, [organisation(), location()])
        register(archive, [user(user_id(number), phone(number)) for number in range(NUMBERS // 4)])
        texts(archive, range(TEXTS // 2))
        copies.base_backup()
        texts(archive, range(TEXTS // 2, TEXTS))
        aside = list(set_aside(GOING.end() - timedelta(hours=1), NOON + timedelta(days=1)))
        assert archive.intake.take(archive.local, [aside])[0].quarantined == len(aside)
        org = archive.organisations.all()[ORG]
        tokens = known_tokens(archive.keyring, org)
        before = KeyringCopy.of(copies.shared, copies.folder.with_name("keyring-before"))
        dump = copies.dump()
        copies.snapshot()
        copies.everything_else()
        copies.log()
        clock.now = GOING.due() + timedelta(minutes=1)
        result = archive.purge.run()
        assert [(day.day, day.state, day.destroyed) for day in result.days] == [(GOING.shelf, "reported", TEXTS)], (
            result
        )
    later = KeyringCopy.of(copies.shared, copies.folder.with_name("keyring-after"))
    seen = {what: scan(path) for what, path in copies.files.items()}  # before anybody starts a server on them
    assert {what: found[:3] for what, found in seen.items() if found} == {}
    base = copies.restore(dump)
    databases = {"base backup and log": f"{base}/archive", "pg_dump": f"{base}/dumped"}
    return After(copies, databases, org, tokens, before, later)


def outcomes(work: Callable[[Any], object], rows: list[Any]) -> list[str]:
    """What came of each row: opened, or by which error it did not."""
    found = []
    for row in rows:
        try:
            work(row)
            found.append("opened")
        except (SecretDestroyed, CannotOpen) as exc:
            found.append(type(exc).__name__)
    return found


@pytest.mark.parametrize("copy", ["base backup and log", "pg_dump"])
def test_no_row_of_the_purged_day_opens_with_the_keyring_as_it_is_after_it(after: After, copy: str) -> None:
    with rows_of(after.databases[copy], GOING.shelf) as (texts, papers):
        for keyring, wanted in ((after.before, "opened"), (after.after, "SecretDestroyed")):
            sealer = Sealer(keyring.open())
            assert outcomes(lambda row: open_row(sealer, GOING.shelf, row), texts) == [wanted] * TEXTS  # noqa: B023
            opening = Papers(sealer)._opened
            assert set(outcomes(lambda row: opening(GOING.shelf, row), papers)) == {wanted}  # noqa: B023
        assert {row.kind for row in papers} >= {"quarantine", "vocabulary"}
    with rows_of(after.databases[copy], STAYING.shelf) as (texts, _):
        sealer = Sealer(after.after.open())
        assert set(outcomes(lambda row: open_row(sealer, STAYING.shelf, row), texts)) == {"opened"}


def test_no_key_that_the_keyring_of_after_can_make_opens_a_row(after: After) -> None:
    keyring = after.after.open()
    keys = list(every_key(keyring, after.org, ("body",)))
    assert len(keys) > 400
    with rows_of(after.databases["pg_dump"], GOING.shelf) as (texts, _):
        for row in texts[:20]:
            text_id = TextId(GOING.date, row.tag, row.version)
            assert not any(opens(key, GOING.shelf, row, text_id) for key in keys)
            assert opens(after.before.open().derive("body", GOING.shelf, after.org), GOING.shelf, row, text_id)


def test_a_copy_of_the_keyring_of_before_does_not_open_with_the_roots_that_are_left(after: After) -> None:
    mixed = KeyringCopy(after.before.documents, after.after.roots)
    assert LocalRoot(after.after.roots).known().isdisjoint(LocalRoot(after.before.roots).known())
    with pytest.raises(Unsound):
        mixed.open()


def test_every_canary_was_there_to_be_found(after: After) -> None:
    """What the copies were looked through for is what their rows hold; that was done before anybody restored them."""
    assert set(after.copies.files) == {"base backup", "write-ahead log", "pg_dump", "snapshot", "files"}
    for what, path in after.copies.files.items():
        assert sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) > 10_000, what
    sealer = Sealer(after.before.open())
    with rows_of(after.databases["base backup and log"], GOING.shelf) as (texts, _):
        raw = [open_row(sealer, GOING.shelf, row).raw.decode() for row in texts]
    assert all(MARK in each and EXCHANGE in each for each in raw)


def ask(after: After, path: str, body: object) -> Any:
    told = after.copies.nodes.ask(0, path, "POST", body)
    assert told is not None, path
    return told


@pytest.fixture(scope="module")
def snapshot(after: After) -> str:
    """The purged day's index as the snapshot brings it back, under another name."""
    assert after.copies.nodes.ask(0, f"/{PREFIX}-{GOING.shelf}*/_alias") == {}
    assert len(after.copies.nodes.ask(0, f"/{PREFIX}-{STAYING.shelf}*/_alias")) == 1
    renamed = {"rename_pattern": f"{PREFIX}-(.+)", "rename_replacement": "restored-$1", "include_aliases": False}
    path = f"/_snapshot/{REPOSITORY}/before/_restore?wait_for_completion=true"
    ask(after, path, {"indices": f"{PREFIX}-{GOING.shelf}*", **renamed})
    return f"restored-{GOING.shelf}-*"


def count(after: After, index: str, query: object) -> int:
    return int(ask(after, f"/{index}/_count", {"query": query})["count"])


def test_a_known_word_user_or_number_leads_to_no_document_of_a_restored_index(after: After, snapshot: str) -> None:
    assert count(after, snapshot, {"match_all": {}}) == TEXTS
    for field, token in after.tokens.items():
        assert count(after, snapshot, {"term": {"terms": token}}) > 0, field
    keyring = after.after.open()
    with pytest.raises(SecretDestroyed):
        known_tokens(keyring, after.org)
    computed = [
        Tokens(keyring).of(name.removeprefix("shelf:"), after.org).of("word", words(word(KNOWN))[0])
        for name in keyring.names()
        if name.startswith("shelf:")
    ]
    assert count(after, snapshot, {"terms": {"terms": computed}}) == 0


def test_a_restored_index_holds_nothing_that_can_be_read(after: After, snapshot: str) -> None:
    clear = r"(direction|disposition|flag|reason):[a-z\-]+"
    other = {"regexp": {"terms": {"value": f"~([0-9a-f]{{16}}|{clear})", "max_determinized_states": 100_000}}}
    assert count(after, snapshot, {"regexp": {"terms": "[0-9a-f]{16}"}}) == TEXTS
    assert count(after, snapshot, {"regexp": {"terms": clear}}) == TEXTS
    assert count(after, snapshot, other) == 0
    found = ask(after, f"/{snapshot}/_search", {"size": TEXTS, "docvalue_fields": ["text", "at", "slice", "segments"]})
    for hit in found["hits"]["hits"]:
        assert "_source" not in hit
        assert set(hit["fields"]) == {"text", "at", "slice", "segments"}
        (text,) = hit["fields"]["text"]
        assert len(text) == 48
        assert int(text[8:], 16) >= 0
