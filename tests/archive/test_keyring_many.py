"""One keyring in many hands: what one makes or destroys, what the others learn of it, and what must not happen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archive.keeping import NOW, Between, Keeping, Ticks
from textkeep.archive.keyring import Keyring, SecretDestroyed, SecretMissing
from textkeep.archive.sealing import Sealer
from textkeep.archive.text import HOUSE
from textkeep.errors import Outage, Unsound
from textkeep.search.tokens import Tokens

OLD, KEPT = "shelf:old", "shelf:kept"


@pytest.fixture
def keyring(keeping: Keeping) -> Keyring:
    """A keyring of a shelf to destroy and one to keep."""
    made = keeping.opened()
    made.make([OLD, KEPT])
    return made


def between(keeping: Keeping, **how: Any) -> tuple[Keyring, Between]:
    """The keyring of a process, and the place where a test may step between it and its store."""
    store = Between(keeping.store())
    return Keyring.open(store, keeping.root(), create=False, **how), store


def once(call: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Does something before the first call of that name."""
    left = [call]

    def before(name: str) -> None:
        if name in left:
            left.clear()
            act()

    return before


def test_what_one_makes_the_other_takes_over(keyring: Keyring, keeping: Keeping) -> None:
    other = keeping.opened(create=False)
    keyring.make(["shelf:new"])
    assert not other.has("shelf:new")
    assert other.refresh() == keyring.status().generation
    assert other.derive("body", "new", HOUSE) == keyring.derive("body", "new", HOUSE)
    assert other.status() == keyring.status()


def test_refreshing_changes_nothing_where_nothing_was_changed(keyring: Keyring) -> None:
    before = keyring.status()
    keyring.derive("body", "old", HOUSE)
    assert keyring.refresh() == keyring.refresh() == before.generation
    assert keyring.status() == before
    assert keyring._derived


def test_two_who_make_the_same_names_have_the_same_secrets(keyring: Keyring, keeping: Keeping) -> None:
    late, store = between(keeping)
    store.before = once("swap", lambda: keyring.make(["shelf:both", "shelf:of-one"]))
    late.make(["shelf:both", "shelf:of-the-other"])
    keyring.refresh()
    names = {"house", OLD, KEPT, "shelf:both", "shelf:of-one", "shelf:of-the-other"}
    assert late.names() == keyring.names() == keeping.opened().names() == names
    assert {name: late.commitment(name) for name in names} == {name: keyring.commitment(name) for name in names}


def test_a_tombstone_wins_over_whoever_makes(keyring: Keyring, keeping: Keeping) -> None:
    keyring.make(["shelf:short-lived"])
    late, store = between(keeping)
    late_too, _ = between(keeping)

    def destroy() -> None:
        keyring.destroy("shelf:short-lived", entry="1", now=NOW)

    store.before = once("swap", destroy)
    late.make(["shelf:new"])
    assert late.has("shelf:new")
    assert late.tombstone("shelf:short-lived")
    for again in (late, keeping.opened()):
        with pytest.raises(SecretDestroyed):
            again.make(["shelf:short-lived"])
    late_too.make(["shelf:newer"])  # it knows of nothing yet
    assert not late_too.has("shelf:short-lived")
    assert keeping.opened().names() == {"house", OLD, KEPT, "shelf:new", "shelf:newer"}


def test_what_one_destroys_is_out_of_every_cache_of_the_other_once_it_has_refreshed(
    keyring: Keyring, keeping: Keeping
) -> None:
    other = keeping.opened(create=False, keeps=False)
    sealer, tokens, told = Sealer(other), Tokens(other), list[str]()
    other.subscribe(told.append)
    sealed = {shelf: sealer.seal("body", shelf, HOUSE, [], b"plain") for shelf in ("old", "kept")}
    for shelf in ("old", "kept"):
        tokens.of(shelf, HOUSE)
    keyring.destroy(OLD, entry="1", now=NOW)
    assert other.refresh() == keyring.status().generation
    assert told == [OLD]
    uses: list[Callable[[], object]] = [
        lambda: other.derive("body", "old", HOUSE),
        lambda: sealer.open("body", "old", HOUSE, [], sealed["old"]),
        lambda: sealer.seal("body", "old", HOUSE, [], b""),
        lambda: tokens.of("old", HOUSE),
    ]
    for use in uses:
        with pytest.raises(SecretDestroyed):
            use()
    assert "old" not in str([*other._derived, *sealer._ciphers, *tokens._shelves])
    assert sealer.open("body", "kept", HOUSE, [], sealed["kept"]) == b"plain"
    assert "kept" in str([*tokens._shelves])


def test_a_destruction_goes_on_where_somebody_else_was_quicker(keyring: Keyring, keeping: Keeping) -> None:
    late, store = between(keeping)
    store.before = once("swap", lambda: keyring.make(["shelf:new"]))
    stone = late.destroy(OLD, entry="1", now=NOW)
    assert late.has("shelf:new")
    again = keeping.opened(create=False)
    assert again.tombstone(OLD) == stone
    assert again.names() == {"house", KEPT, "shelf:new"}
    assert keeping.known_roots() == {again.status().root}


def test_two_who_destroy_one_secret_leave_one_tombstone(keyring: Keyring, keeping: Keeping) -> None:
    late, store = between(keeping)
    store.before = once("swap", lambda: keyring.destroy(OLD, entry="1", now=NOW))
    assert late.destroy(OLD, entry="2", now=NOW.replace(year=2027)).entry == "1"
    assert keeping.known_roots() == {keeping.opened().status().root}


def test_two_who_destroy_at_once_leave_the_ring_that_both_have_made(keyring: Keyring, keeping: Keeping) -> None:
    late, store = between(keeping)
    store.before = once("swap", lambda: keyring.destroy(OLD, entry="1", now=NOW))
    late.destroy(KEPT, entry="2", now=NOW)
    again = keeping.opened(create=False)
    assert again.tombstones().keys() == {OLD, KEPT}
    assert keeping.known_roots() == {again.status().root}


def test_a_root_that_goes_while_the_ring_is_read_back_sends_the_destroyer_to_the_newer_ring(
    keyring: Keyring, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that destroy at once: the second has moved on before the first has seen that its own ring opens."""
    late, _ = between(keeping)
    unwrap = late._root.unwrap

    def meddled(root: str, wrapped: bytes) -> bytes:
        monkeypatch.undo()
        keyring.destroy(KEPT, entry="2", now=NOW)
        return unwrap(root, wrapped)

    monkeypatch.setattr(late._root, "unwrap", meddled)
    late.destroy(OLD, entry="1", now=NOW)
    again = keeping.opened(create=False)
    assert again.tombstones().keys() == {OLD, KEPT}
    assert keeping.known_roots() == {again.status().root}


@pytest.mark.parametrize("call", ["holds", "swap", "read"])
def test_a_process_that_starts_at_any_moment_of_a_destruction_takes_no_root_that_is_needed(
    keyring: Keyring, keeping: Keeping, call: str
) -> None:
    """It sees two roots, and forgets what a crash seems to have left over: the one the next ring is about to need."""
    late, store = between(keeping)
    store.before = once(call, keeping.opened)
    late.destroy(OLD, entry="1", now=NOW)
    again = keeping.opened(create=False)
    assert again.names() == {"house", KEPT}
    assert keeping.known_roots() == {again.status().root}


def test_a_destruction_among_processes_that_never_stop_starting_is_put_off_and_loses_nothing(
    keyring: Keyring, keeping: Keeping
) -> None:
    late, store = between(keeping)

    def start(call: str) -> None:
        if call == "swap":
            keeping.opened()

    store.before = start
    with pytest.raises(Outage):
        late.destroy(OLD, entry="1", now=NOW)
    store.before = lambda _call: None
    assert keeping.opened(create=False).names() == {"house", OLD, KEPT}
    late.destroy(OLD, entry="1", now=NOW)
    assert keeping.opened(create=False).names() == {"house", KEPT}


def test_a_root_that_goes_before_anything_is_sealed_under_it_is_made_anew(
    keyring: Keyring, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that finishes may forget a root between its making and its first use."""
    late, _ = between(keeping)
    root = late._root
    create = root.create

    def meddled() -> str:
        made = create()
        monkeypatch.undo()
        keeping.opened()
        assert made not in keeping.known_roots()
        return made

    monkeypatch.setattr(root, "create", meddled)
    late.destroy(OLD, entry="1", now=NOW)
    assert keeping.opened(create=False).names() == {"house", KEPT}


def test_a_root_that_goes_while_its_ring_is_read_sends_the_reader_to_the_newer_ring(
    keyring: Keyring, keeping: Keeping
) -> None:
    class Late(Between):
        def read(self, name: str) -> bytes | None:
            document = super().read(name)
            if self.calls.count("read") == 1:
                keyring.destroy(OLD, entry="1", now=NOW)
            return document

    for late in (Keyring.open(Late(keeping.store()), keeping.root(), create=False), keeping.opened()):
        assert late.names() == {"house", KEPT}


def test_whoever_keeps_nothing_forgets_no_root_and_destroys_nothing(keyring: Keyring, keeping: Keeping) -> None:
    made = keeping.root().create()
    there = keeping.known_roots()
    before = keeping.document()
    reader = keeping.opened(keeps=False)
    reader.finish()
    assert (keeping.known_roots(), keeping.document()) == (there, before)
    with pytest.raises(ValueError, match="destroy nothing"):
        reader.destroy(OLD, entry="1", now=NOW)
    reader.make(["shelf:new"])
    keeping.opened()
    assert made not in keeping.known_roots()
    assert reader.refresh() > 0
    assert reader.has("shelf:new")


@pytest.mark.parametrize("keeps", [True, False])
def test_of_two_first_starts_one_makes_the_keyring_and_both_have_it(keeping: Keeping, keeps: bool) -> None:
    first: list[Keyring] = []
    store = Between(keeping.store())
    store.before = once("swap", lambda: first.append(keeping.opened(keeps=keeps)))
    late = Keyring.open(store, keeping.root(), create=True, keeps=keeps)
    assert late.commitment("house") == first[0].commitment("house")
    assert keeping.known_roots() == {late.status().root} == {keeping.opened(create=False).status().root}


def test_the_first_start_destroys_no_root_before_its_ring_is_there(keeping: Keeping) -> None:
    """Roots that lie there may be those of a process that starts at the same time."""
    other = keeping.root().create()
    store = Between(keeping.store())
    seen: list[bool] = []
    store.before = once("swap", lambda: seen.append(other in keeping.known_roots()))
    Keyring.open(store, keeping.root(), create=True).finish()
    assert seen == [True]
    assert other not in keeping.known_roots()


def test_a_secret_that_is_not_in_memory_is_looked_for_once(sql_keeping: Keeping) -> None:
    keyring = sql_keeping.opened()
    ticks = Ticks()
    other, store = between(sql_keeping, ticks=ticks)
    keyring.make(["shelf:new"])
    assert other.derive("body", "new", HOUSE) == keyring.derive("body", "new", HOUSE)
    store.calls.clear()
    for _ in range(2):
        with pytest.raises(SecretMissing):
            other.derive("body", "never", HOUSE)
    assert store.calls == ["holds"]
    keyring.make(["shelf:never"])
    ticks.now += 1
    assert other.derive("body", "never", HOUSE)


def test_a_secret_is_not_looked_for_again_where_nobody_else_could_have_made_it(tmp_path: Path) -> None:
    keeping = Keeping("file", tmp_path, "")
    keeping.opened()
    alone, store = between(keeping)
    store.calls.clear()
    with pytest.raises(SecretMissing):
        alone.derive("body", "never", HOUSE)
    assert store.calls == []


def older(keyring: Keyring, keeping: Keeping) -> None:
    before = keeping.document()
    keyring.make(["shelf:newer"])
    keeping.put(before)


def of_another_line(keyring: Keyring, keeping: Keeping) -> None:
    before = keeping.document()
    keyring.make(["shelf:newer"])
    keeping.put(before)
    keeping.opened().make(["shelf:other"])  # of the same generation


def of_another_line_and_newer(keyring: Keyring, keeping: Keeping) -> None:
    of_another_line(keyring, keeping)
    keeping.opened().make(["shelf:more"])


def of_another_archive(_keyring: Keyring, keeping: Keeping) -> None:
    keeping.put(None)
    another = Keyring.open(keeping.store(), keeping.root(), create=True, keeps=False)
    for number in range(9):
        another.make([f"shelf:{number}"])


def without_a_tombstone(keyring: Keyring, keeping: Keeping) -> None:
    """Its root is back as well: somebody had kept both."""
    before, root = keeping.document(), keyring.status().root
    kept = (keeping.roots / root).read_bytes()
    keyring.destroy(OLD, entry="1", now=NOW)
    keeping.put(before)
    (keeping.roots / root).write_bytes(kept)
    another = Keyring.open(keeping.store(), keeping.root(), create=False, keeps=False)
    for number in range(9):
        another.make([f"shelf:{number}"])


def gone(_keyring: Keyring, keeping: Keeping) -> None:
    keeping.put(None)


def damaged(_keyring: Keyring, keeping: Keeping) -> None:
    keeping.put(keeping.document()[:-1])


@pytest.mark.parametrize(
    "restored",
    [older, of_another_line, of_another_line_and_newer, of_another_archive, without_a_tombstone, gone, damaged],
)
def test_a_ring_that_goes_back_under_a_running_archive_is_not_used_and_not_written_over(
    keyring: Keyring, keeping: Keeping, restored: Callable[[Keyring, Keeping], None]
) -> None:
    restored(keyring, keeping)
    known, stored = keyring.names(), keeping.store().read("ring")
    uses: list[Callable[[], object]] = [
        keyring.refresh,
        lambda: keyring.make(["shelf:mine"]),
        lambda: keyring.destroy(KEPT, entry="1", now=NOW),
    ]
    for use in uses:
        with pytest.raises(Unsound):
            use()
    assert keyring.names() == known
    assert keeping.store().read("ring") == stored
