"""The keyring through crashes at every step, kills at random instants, full disks and damage."""

import os
import random
import select
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archive.keeping import NOW, Copy, Keeping
from textkeep.archive.drivers import files, keyring_file, root_local
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring, SecretDestroyed
from textkeep.archive.text import HOUSE
from textkeep.errors import Outage, Unsound

CHILDREN = 200
OPENING = 2
"""Calls of the drivers that opening a keyring takes."""

STEPS = 60
"""More than any change of the keyring takes."""


class Crash(BaseException):
    """The process ends here."""


class Breaking:
    """A driver whose n-th call fails before or after it was done; counts over all drivers that share `calls`."""

    def __init__(
        self, driver: Any, calls: list[str], crash_at: int, *, after: bool, error: type[BaseException]
    ) -> None:
        self._driver = driver
        self._calls = calls
        self._at = crash_at
        self._after = after
        self._error = error

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._driver, name)
        if not callable(member):
            return member

        def call(*args: Any) -> Any:
            self._calls.append(name)
            now = len(self._calls) == self._at
            if now and not self._after:
                raise self._error("before")
            result = member(*args)
            if now:
                raise self._error("after")
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
    keeping: Keeping, tmp_path: Path, change: Callable[[Keyring], None], after: bool
) -> None:
    keyring = keeping.opened()
    keyring.make(["shelf:old", "shelf:kept"])
    kept = {name: keyring.commitment(name) for name in ("house", "shelf:old", "shelf:kept")}
    before = keeping.copy(tmp_path / "before")
    for step in range(1, STEPS):
        keeping.restore(before)
        calls: list[str] = []
        try:
            change(broken_keyring(keeping, calls, step, after=after, error=Crash, create=False))
        except Crash:
            again = keeping.opened()
            assert {name: again.commitment(name) for name in kept} == kept
            assert keeping.known_roots() == {again.status().root}
            change(again)
            assert_changed(keeping, change, before, tmp_path / "now")
        else:
            assert step > len(calls) > 3
            return
    pytest.fail("the change never came to its end")


def broken_keyring(
    keeping: Keeping, calls: list[str], step: int, *, after: bool, error: type[BaseException], create: bool
) -> Keyring:
    """A keyring whose drivers fail at the n-th call."""
    store: Any = Breaking(keeping.store(), calls, step, after=after, error=error)
    root: Any = Breaking(keeping.root(), calls, step, after=after, error=error)
    return Keyring.open(store, root, create=create)


def assert_changed(keeping: Keeping, change: Callable[[Keyring], None], before: Copy, at: Path) -> None:
    """The change has been made, and where something was destroyed no older copy opens."""
    again = keeping.opened(create=False)
    assert keeping.known_roots() == {again.status().root}
    if change is make:
        assert again.has("shelf:new")
        return
    with pytest.raises(SecretDestroyed):
        again.derive("body", "old", HOUSE)
    with pytest.raises(Unsound):
        before.opened(keeping.roots, at)


@pytest.mark.parametrize("change", [make, destroy])
@pytest.mark.parametrize("after", [False, True])
def test_an_outage_at_any_call_of_a_driver_is_mended_by_the_next_call(
    keeping: Keeping, tmp_path: Path, change: Callable[[Keyring], None], after: bool
) -> None:
    """Also where what was asked for was done, and only the answer was lost."""
    keeping.opened().make(["shelf:old", "shelf:kept"])
    before = keeping.copy(tmp_path / "before")
    for step in range(1, STEPS):
        keeping.restore(before)
        calls: list[str] = []
        keyring = broken_keyring(keeping, calls, OPENING + step, after=after, error=Outage, create=False)
        assert len(calls) == OPENING
        try:
            change(keyring)
        except Outage:
            change(keyring)
            keyring.finish()
            assert keyring.names() == keeping.opened().names()
            assert_changed(keeping, change, before, tmp_path / "now")
        else:
            assert OPENING + step > len(calls)
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
def test_a_crash_while_the_first_keyring_is_made_needs_no_hand(keeping: Keeping, after: bool) -> None:
    for step in range(1, STEPS):
        try:
            broken_keyring(keeping, [], step, after=after, error=Crash, create=True)
        except Crash:
            again = keeping.opened()
            assert again.names() == {"house"}
            assert keeping.known_roots() == {again.status().root}
            keeping.clear()
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


def test_no_root_is_forgotten_before_the_ring_is_seen_to_open_under_the_new_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = LocalRoot(folder / "roots").known()
    keyring = opened(folder)
    with monkeypatch.context() as patched:
        # The key under which the new ring was sealed is not the one that was written.
        kept = files.write_durably
        patched.setattr(root_local, "write_durably", lambda path, _key: kept(path, bytes(32)))
        wrap = LocalRoot.wrap
        patched.setattr(LocalRoot, "wrap", lambda own, root, key: wrap(own, root, bytes(32)))
        with pytest.raises(Unsound):
            destroy(keyring)
    assert before < LocalRoot(folder / "roots").known()


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
