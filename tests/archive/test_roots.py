"""What every kind of root promises: files, a token's keys, and keys of a KMS."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.archive.keeping import child
from tests.archive.rooting import Rooting
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.keyring import RING, Keyring
from textkeep.archive.ring import Root
from textkeep.errors import Unsound

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = bytes(range(32))


def test_a_key_comes_back_from_what_sealed_it_and_each_sealing_is_another(roots: Rooting) -> None:
    root = roots.ring()
    name = root.create()
    sealed = [root.wrap(name, KEY), root.wrap(name, KEY)]
    assert sealed[0] != sealed[1]
    assert KEY not in sealed[0]
    for opened in (root, roots.ring()):
        assert [opened.unwrap(name, each) for each in sealed] == [KEY, KEY]


def test_the_roots_there_are_are_known_and_only_those_of_this_keyring_and_this_use(roots: Rooting) -> None:
    root, backup, other = roots.ring(), roots.backup(), roots.other()
    assert root.known() == set()
    names = {root.create(), root.create()}
    backed, theirs = backup.create(), other.create()
    assert (root.known(), roots.ring().known()) == (names, names)
    assert (backup.known(), other.known()) == ({backed}, {theirs})
    backup.forget(next(iter(names)))
    assert root.known() == names


def test_what_was_altered_or_sealed_by_another_root_does_not_open(roots: Rooting) -> None:
    root = roots.ring()
    name, another = root.create(), root.create()
    sealed = root.wrap(name, KEY)
    altered = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(0, len(sealed), 7)]
    for wrong in [*altered, sealed[:-1], sealed[:20], b""]:
        with pytest.raises(Unsound):
            root.unwrap(name, wrong)
    with pytest.raises(Unsound):
        root.unwrap(another, sealed)
    assert root.unwrap(name, sealed) == KEY


def test_a_root_that_was_forgotten_opens_nothing_and_seals_nothing(roots: Rooting) -> None:
    root, elsewhere = roots.ring(), roots.ring()
    name, stays = root.create(), root.create()
    sealed, kept = root.wrap(name, KEY), root.wrap(stays, KEY)
    assert elsewhere.unwrap(name, sealed) == KEY
    root.forget(name)
    for each in (root, elsewhere, roots.ring()):
        assert each.known() == {stays}
        with pytest.raises(Unsound) as refused:
            each.unwrap(name, sealed)
        assert refused.value.remedy
        with pytest.raises(Unsound):
            each.wrap(name, KEY)
        assert each.unwrap(stays, kept) == KEY
    root.forget(name)
    elsewhere.forget(name)


def test_a_root_that_never_was_opens_nothing_and_forgetting_it_harms_nothing(roots: Rooting) -> None:
    root = roots.ring()
    there = root.create()
    for name in ("", "no such root", "../../etc/passwd", "0" * 16, "ab" * 16, "g" * 36):
        with pytest.raises(Unsound):
            root.unwrap(name, root.wrap(there, KEY))
        root.forget(name)
    assert root.known() == {there}


def test_what_becomes_of_a_root_is_told(roots: Rooting) -> None:
    root = roots.ring()
    name = root.create()
    assert (root.fate(name).gone, root.fate(name).ends_at) == (False, None)
    began = datetime.now(UTC)
    root.forget(name)
    fate = roots.ring().fate(name)
    if roots.kind == "aws":
        assert not fate.gone
        assert fate.ends_at is not None
        assert timedelta(days=7) - timedelta(minutes=1) <= fate.ends_at - began <= timedelta(days=7, minutes=5)
    else:
        assert (fate.gone, fate.ends_at) == (True, None)


def test_a_child_process_uses_the_roots_too(roots: Rooting) -> None:
    root = roots.ring()
    name = root.create()
    sealed = root.wrap(name, KEY)

    with child(lambda say: say(str(root.unwrap(name, sealed) == KEY))) as running:
        assert running.lines() == ["True"]
    assert root.unwrap(name, sealed) == KEY


def test_nothing_of_a_root_shows_its_key_or_its_pin(roots: Rooting) -> None:
    root = roots.ring()
    assert "pin" not in repr(root).lower()
    assert "token" not in repr(vars(root)).lower() or "/pin" not in repr(vars(root))


def ring_of(root: Root, folder: Path, *, create: bool = False) -> Keyring:
    keyring = Keyring.open(FolderStore(folder), root, create=create)
    keyring.finish()
    return keyring


def test_destroying_a_secret_closes_every_older_copy_of_the_ring_whatever_the_root(
    roots: Rooting, tmp_path: Path
) -> None:
    keyring = ring_of(roots.ring(), tmp_path / "ring", create=True)
    keyring.make(["shelf:2026-11-22", "shelf:2026-11-23"])
    copied = (tmp_path / "ring" / RING).read_bytes()
    before = keyring.status()
    stone = keyring.destroy("shelf:2026-11-22", entry="7", now=NOW)
    after = ring_of(roots.ring(), tmp_path / "ring")
    assert after.names() == {"house", "shelf:2026-11-23"}
    assert (stone.generation, stone.root) == (after.status().generation, before.root)
    assert after.tombstone("shelf:2026-11-22") == stone
    assert roots.ring().known() == {after.status().root} != {before.root}
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / RING).write_bytes(copied)
    with pytest.raises(Unsound):
        Keyring.open(FolderStore(tmp_path / "old"), roots.ring(), create=False)


def test_a_destruction_that_was_killed_before_the_old_root_went_is_finished(roots: Rooting, tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    ring_of(roots.ring(), folder, create=True).make(["shelf:2026-11-22"])

    def work(_say: object) -> None:
        root = roots.ring()
        setattr(root, "forget", lambda _root: os.kill(os.getpid(), 9))  # noqa: B010
        Keyring.open(FolderStore(folder), root, create=False).destroy("shelf:2026-11-22", entry="7", now=NOW)

    with child(work) as running:
        assert running.lines() == []
    assert len(roots.ring().known()) == 2
    again = ring_of(roots.ring(), folder)
    assert again.tombstone("shelf:2026-11-22") is not None
    assert roots.ring().known() == {again.status().root}
