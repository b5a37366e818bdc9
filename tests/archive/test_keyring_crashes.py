"""The keyring through crashes at every step, kills at random instants, full disks and damage."""

import os
import random
import select
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from textkeep.archive.drivers import files, keyring_file, root_local
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring, SecretDestroyed
from textkeep.archive.text import HOUSE
from textkeep.errors import Outage, Unsound

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CHILDREN = 200
STEPS = 60
"""More than any change of the keyring takes."""


class Crash(BaseException):
    """The process ends here."""


class Breaking:
    """A driver whose process ends before or after its n-th call; counts over all drivers that share `calls`."""

    def __init__(self, driver: Any, calls: list[str], crash_at: int, *, after: bool) -> None:
        self._driver = driver
        self._calls = calls
        self._at = crash_at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._driver, name)
        if not callable(member):
            return member

        def call(*args: Any) -> Any:
            self._calls.append(name)
            now = len(self._calls) == self._at
            if now and not self._after:
                raise Crash
            result = member(*args)
            if now:
                raise Crash
            return result

        return call


def opened(folder: Path) -> Keyring:
    keyring = Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=True)
    keyring.finish()
    return keyring


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A keyring of a house, a shelf to destroy and one to keep."""
    opened(tmp_path / "keyring").make(["shelf:old", "shelf:kept"])
    return tmp_path / "keyring"


def make(keyring: Keyring) -> None:
    keyring.make(["shelf:new"])


def destroy(keyring: Keyring) -> None:
    keyring.destroy("shelf:old", entry="1", now=NOW)


def assert_sound(folder: Path, kept: dict[str, bytes]) -> Keyring:
    """The keyring opens, holds what it must, and nothing of a half-done change is left."""
    keyring = opened(folder)
    assert {name: keyring.commitment(name) for name in kept} == kept
    assert {path.name for path in (folder / "roots").iterdir()} == {keyring.status().root}
    assert {path.name for path in folder.iterdir()} == {"ring", "roots"}
    return keyring


def assert_finished(folder: Path, change: Callable[[Keyring], None], before: Path) -> None:
    """The change can be made again, and then no older copy opens where something was destroyed."""
    keyring = opened(folder)
    change(keyring)
    if change is make:
        assert opened(folder).has("shelf:new")
        return
    with pytest.raises(SecretDestroyed):
        opened(folder).derive("body", "old", HOUSE)
    assert_no_copy_opens(before, folder)


def assert_no_copy_opens(copy: Path, folder: Path) -> None:
    """An older copy of the keyring, with the roots as they are now, is closed."""
    shutil.rmtree(copy / "roots")
    shutil.copytree(folder / "roots", copy / "roots")
    with pytest.raises(Unsound):
        Keyring.open(FolderStore(copy), LocalRoot(copy / "roots"), create=False)


@pytest.mark.parametrize("change", [make, destroy])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_call_of_a_driver_is_finished_by_the_next_start(
    folder: Path, tmp_path: Path, change: Callable[[Keyring], None], after: bool
) -> None:
    commitments = {name: opened(folder).commitment(name) for name in ("house", "shelf:old", "shelf:kept")}
    for step in range(1, STEPS):
        place = shutil.copytree(folder, tmp_path / f"at-{step}")
        before = shutil.copytree(folder, tmp_path / f"before-{step}")
        calls: list[str] = []
        store: Any = Breaking(FolderStore(place), calls, step, after=after)
        root: Any = Breaking(LocalRoot(place / "roots"), calls, step, after=after)
        try:
            change(Keyring.open(store, root, create=False))
        except Crash:
            assert_sound(place, commitments)
            assert_finished(place, change, before)
        else:
            assert step > len(calls) > 3
            return
    pytest.fail("the change never came to its end")


_CALLS = (
    (os, "open"),
    (os, "fsync"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "read_bytes"),
)


@pytest.mark.parametrize("change", [make, destroy])
@pytest.mark.parametrize("error", [Crash, OSError])
def test_a_crash_or_an_error_at_any_call_of_the_system_loses_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Keyring], None], error: Any
) -> None:
    commitments = {name: opened(folder).commitment(name) for name in ("house", "shelf:old", "shelf:kept")}
    for step in range(1, STEPS):
        place = shutil.copytree(folder, tmp_path / f"at-{step}")
        before = shutil.copytree(folder, tmp_path / f"before-{step}")
        keyring = opened(place)
        calls: list[str] = []
        with monkeypatch.context() as patched:
            for owner, name in _CALLS:
                patched.setattr(owner, name, breaking(getattr(owner, name), calls, step, error))
            try:
                change(keyring)
            except (Crash, Outage):
                assert len(calls) == step
            else:
                assert step > len(calls) > 3
                return
        assert_sound(place, commitments)
        assert_finished(place, change, before)
    pytest.fail("the change never came to its end")


def breaking(call: Callable[..., Any], calls: list[str], crash_at: int, error: Any) -> Callable[..., Any]:
    """`call`, but for its n-th time."""

    def broken(*args: Any, **how: Any) -> Any:
        calls.append(call.__name__)
        if len(calls) == crash_at:
            raise error
        return call(*args, **how)

    return broken


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_the_first_keyring_is_made_needs_no_hand(tmp_path: Path, after: bool) -> None:
    for step in range(1, STEPS):
        place = tmp_path / f"{step}"
        calls: list[str] = []
        store: Any = Breaking(FolderStore(place), calls, step, after=after)
        root: Any = Breaking(LocalRoot(place / "roots"), calls, step, after=after)
        try:
            Keyring.open(store, root, create=True)
        except Crash:
            assert assert_sound(place, {}).names() == {"house"}
        else:
            return
    pytest.fail("the keyring was never made")


def test_a_destruction_that_could_not_forget_the_old_root_is_finished_by_the_next_call(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shutil.copytree(folder, tmp_path / "before")
    keyring = opened(folder)
    keyring.derive("body", "old", HOUSE)
    told: list[str] = []
    keyring.subscribe(told.append)
    with monkeypatch.context() as patched:
        patched.setattr(root_local, "blank_durably", breaking(files.blank_durably, [], 1, OSError))
        with pytest.raises(Outage):
            destroy(keyring)
    assert told == ["shelf:old"]
    with pytest.raises(SecretDestroyed):
        keyring.derive("body", "old", HOUSE)
    destroy(keyring)
    assert_no_copy_opens(before, folder)
    assert_sound(folder, {})


def test_no_root_is_forgotten_before_the_ring_opens_under_the_new_one(folder: Path) -> None:
    """Another process that starts in between forgets the new root: then the old one must not go as well."""

    class Meddled(FolderStore):
        def swap(self, name: str, was: bytes | None, now: bytes) -> None:
            opened(folder)
            super().swap(name, was, now)

    before = (folder / "ring").read_bytes()
    keyring = Keyring.open(Meddled(folder), LocalRoot(folder / "roots"), create=False)
    with pytest.raises(Unsound):
        destroy(keyring)
    (folder / "ring").write_bytes(before)
    assert opened(folder).has("shelf:kept")


def test_half_written_files_and_roots_of_nothing_are_cleaned_away(folder: Path) -> None:
    kept = {name: opened(folder).commitment(name) for name in ("house", "shelf:old", "shelf:kept")}
    (folder / "ring.new").write_bytes(b"half a ring")
    (folder / "roots" / "00112233445566ff").write_bytes(b"half a key")
    (folder / "roots" / "ff00112233445566").write_bytes(b"")
    assert_sound(folder, kept)


def test_what_does_not_read_back_as_it_was_written_is_not_put_in_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "ring").read_bytes()
    keyring = opened(folder)
    written = files.write_durably
    monkeypatch.setattr(keyring_file, "write_durably", lambda path, content: written(path, content[:-1] + b"?"))
    with pytest.raises(Outage):
        make(keyring)
    monkeypatch.undo()
    assert (folder / "ring").read_bytes() == before
    make(keyring)
    assert opened(folder).has("shelf:new")


def test_a_ring_damaged_in_any_byte_or_cut_anywhere_does_not_open(folder: Path) -> None:
    ring = folder / "ring"
    whole = ring.read_bytes()
    roots = LocalRoot(folder / "roots")
    damaged = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [whole[:at] for at in range(len(whole))]
    damaged += [whole[at:] for at in range(1, len(whole), 7)]
    damaged += [whole + b"\x00", b"\n" + whole, whole + whole, whole.replace(b"v1", b"v2", 1), b"\xff" * len(whole)]
    for document in damaged:
        ring.write_bytes(document)
        with pytest.raises(Unsound):
            Keyring.open(FolderStore(folder), roots, create=True)
    ring.write_bytes(whole)
    assert opened(folder).has("shelf:kept")


def test_a_root_key_damaged_anywhere_cut_or_missing_does_not_open_the_ring(folder: Path) -> None:
    (root,) = (folder / "roots").iterdir()
    key = root.read_bytes()
    damaged = [key[:at] + bytes([key[at] ^ 1 << at % 8]) + key[at + 1 :] for at in range(32)]
    for other in [*damaged, b"", key[:31], key + b"\x00", bytes(32)]:
        root.write_bytes(other)
        with pytest.raises(Unsound):
            opened(folder)
    root.unlink()
    with pytest.raises(Unsound) as caught:
        opened(folder)
    assert "Restore" in caught.value.remedy
    root.write_bytes(key)
    assert opened(folder).has("shelf:kept")


def change_until_killed(folder: Path, out: int, seed: int) -> None:
    """Make and destroy without end, and tell what is done once it is done."""
    chance = random.Random(seed)
    keyring = opened(folder)
    os.write(out, b"ready\n")
    for number in range(1_000_000):
        shelves = sorted(name for name in keyring.names() if name.startswith("shelf:day"))
        if shelves and chance.random() < 0.5:
            name = chance.choice(shelves)
            os.write(out, f"destroying {name}\n".encode())
            keyring.destroy(name, entry="1", now=NOW)
            os.write(out, f"destroyed {name}\n".encode())
        else:
            name = f"shelf:day-{seed}-{number}"
            keyring.make([name])
            os.write(out, f"made {name} {keyring.commitment(name).hex()}\n".encode())


def killed_child(folder: Path, seed: int, chance: random.Random) -> list[list[str]]:
    """What a child told before it was killed at a random instant."""
    told, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(told)
            change_until_killed(folder, out, seed)
        finally:
            os._exit(1)
    os.close(out)
    said, lines = b"", chance.randrange(1, 7)
    while said.count(b"\n") < lines:
        said += os.read(told, 65536)
    select.select([], [], [], chance.random() * 0.004)
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    while part := os.read(told, 65536):
        said += part
    os.close(told)
    return [line.split() for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]


def test_children_killed_at_random_instants_lose_nothing_and_leave_nothing_half_done(tmp_path: Path) -> None:
    folder, copy = tmp_path / "keyring", tmp_path / "copy"
    kept = {"house": opened(folder).commitment("house")}
    gone: set[str] = set()
    chance = random.Random(400)
    for seed in range(CHILDREN):
        shutil.copytree(folder, copy)
        told = killed_child(folder, seed, chance)
        begun = told[-1][1] if told[-1][0] == "destroying" else None
        for what, *about in told:
            if what == "made":
                kept[about[0]] = bytes.fromhex(about[1])
            elif what == "destroyed":
                kept.pop(about[0])
                gone.add(about[0])
        keyring = opened(folder)
        if begun and keyring.tombstone(begun):
            kept.pop(begun)
            gone.add(begun)
        assert_sound(folder, kept)
        assert gone <= keyring.tombstones().keys()
        assert not gone & keyring.names()
        unsaid = keyring.names() - kept.keys()
        assert len(unsaid) <= 1
        kept.update({name: keyring.commitment(name) for name in unsaid})
        if any(what == "destroyed" for what, *_ in told):
            assert_no_copy_opens(copy, folder)
        shutil.rmtree(copy)
    assert len(gone) > CHILDREN / 10
