"""A database or a keyring's store that was put back: noticed, named, and refused or mended; no fork is signed."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, delete, update

from tests.housing import SetClock
from tests.ledger.signing import ORIGIN, Signing
from textkeep.errors import Conflict
from textkeep.ledger import checkpoints, log, tree
from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.export import export
from textkeep.ledger.key_lost import recovered
from textkeep.ledger.keys import Keys
from textkeep.ledger.note import Checkpoint, Note, Verifier, parse
from textkeep.ledger.note import Signer as NoteSigner
from textkeep.ledger.published import Folder
from textkeep.ledger.state import Forked, KeyMissing, State, noted
from textkeep.ledger.witness import Watch
from textkeep.ledger.witness_memory import MemoryFile
from textkeep.store.engine import Store
from textkeep.store.evidence import checkpoints as checkpoint_rows
from textkeep.store.evidence import leaves, tiles
from textkeep.store.schema import migrate
from textkeep.store.tables import ledger_entries

AGREED = "a-0123456789abcdef"


@pytest.fixture
def signing(store: Store, clock: SetClock) -> Signing:
    return Signing(store, clock)


@pytest.fixture
def one(tmp_path: Path, clock: SetClock) -> Iterator[Signing]:
    """Signing over a file that a test copies and puts back."""
    opened = Store.open(f"sqlite:///{tmp_path / 'textkeep.db'}")
    migrate(opened)
    made = Signing(opened, clock)
    yield made
    made.store.close()


def copy(signing: Signing, to: Path) -> None:
    signing.store.settle()
    signing.store.close()
    shutil.copy(to.parent / "textkeep.db", to)


def put_back(signing: Signing, copied: Path) -> None:
    """Put the database back as it was copied."""
    signing.store.close()
    for beside in copied.parent.glob("textkeep.db*"):
        beside.unlink()
    shutil.copy(copied, copied.parent / "textkeep.db")
    signing.store = Store.open(f"sqlite:///{copied.parent / 'textkeep.db'}")


def sign(signing: Signing, number: int, **how: Any) -> int:
    signing.append(number, **how)
    return signing.restarted().keep_up()


def change(signing: Signing, statement: Any) -> None:
    with signing.store.transaction() as connection:
        connection.execute(statement)


def state_of(signing: Signing) -> State:
    state = signing.signer().state()
    assert state is not None
    return state


def exported(signing: Signing, folder: Path) -> Folder:
    export(signing.store, folder, state_of(signing).key)
    return Folder(folder)


def check_line(signing: Signing) -> int:
    """Every checkpoint there is names the root of the entries before it; gives the size of the newest."""
    hashes = [tree.leaf_hash(entry) for entry in signing.in_order()]
    with signing.store.reading() as connection:
        known = checkpoints.beyond(connection, -1)
    for each in known:
        said = Checkpoint.parse(parse(each.note).text)
        assert said.root == tree.root(hashes[: said.size])
    return known[-1].size


def granted(_connection: Connection) -> dict[str, str]:
    return {"asked_by": "aa", "approved_by": "bb"}


def after(place: int) -> Any:
    return ledger_entries.c.leaf_index >= place


def test_a_database_older_than_the_last_checkpoint_is_refused_and_mended_from_an_export(
    one: Signing, tmp_path: Path
) -> None:
    sign(one, 5)
    copy(one, tmp_path / "old.db")
    sign(one, 4, after="the copy")
    there = exported(one, tmp_path / "export")
    signed = state_of(one)
    put_back(one, tmp_path / "old.db")
    one.append(2, came="later")

    for _ in range(2):
        with pytest.raises(Forked, match="5 of 9 signed entries"):
            one.restarted().step()
    assert len(one.in_order()) == 5
    assert state_of(one).note == signed.note
    with pytest.raises(Forked):
        one.restarted().resume(AGREED, granted)

    done = one.restarted().put_back(there)
    assert (done.size, done.entries, done.known, done.set_aside) == (9, 4, 0, [])
    with pytest.raises(Forked, match="nothing has been signed since"):
        one.restarted().step()
    one.restarted().resume(AGREED, granted)
    one.restarted().keep_up()
    assert check_line(one) == 12
    told = [json.loads(entry) for entry in one.in_order()]
    assert [each.get("after") for each in told[5:9]] == ["the copy"] * 4
    assert [each.get("came") for each in told[9:11]] == ["later"] * 2
    assert told[11]["kind"] == "restore"
    assert (told[11]["approval"], told[11]["approved_by"], told[11]["size"]) == (AGREED, "bb", 9)
    assert state_of(one).refused is None


def test_entries_that_waited_when_the_copy_was_made_get_the_places_that_they_had(one: Signing, tmp_path: Path) -> None:
    sign(one, 2)
    one.append(3, waited=True)
    copy(one, tmp_path / "old.db")
    sign(one, 2)
    there = exported(one, tmp_path / "export")
    put_back(one, tmp_path / "old.db")
    with pytest.raises(Forked):
        one.restarted().step()
    done = one.restarted().put_back(there)
    assert (done.entries, done.known) == (2, 3)
    one.restarted().resume(AGREED, granted)
    assert check_line(one) == 8


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (delete(ledger_entries).where(after(250)), "250 of 300"),
        (delete(ledger_entries).where(ledger_entries.c.leaf_index == 7), "from place 7"),
        (update(ledger_entries).where(ledger_entries.c.leaf_index == 7).values(entry="{}"), "7"),
        (update(ledger_entries).where(ledger_entries.c.leaf_index == 7).values(kind="hold"), "7"),
        (update(ledger_entries).where(ledger_entries.c.leaf_index == 7).values(shelf=None), "7"),
        (update(ledger_entries).where(ledger_entries.c.leaf_index == 299).values(entry="{}"), "299"),
        (update(ledger_entries).where(ledger_entries.c.leaf_index == 7).values(leaf_index=None), "from place 7"),
    ],
    ids=["cut-short", "deleted", "changed", "kind", "shelf", "last-changed", "place-taken"],
)
def test_whatever_became_of_a_signed_entry_is_noticed_named_and_mended(
    signing: Signing, tmp_path: Path, damage: Any, named: str
) -> None:
    sign(signing, 300)
    there = exported(signing, tmp_path / "export")
    change(signing, damage)
    signer = signing.restarted()
    with pytest.raises(Forked) as told:
        signer.check()
    assert named in told.value.detail
    signing.append(1)
    with pytest.raises(Forked):
        signing.restarted().step()

    signing.restarted().put_back(there)
    signing.restarted().resume(AGREED, granted)
    assert check_line(signing) == 302
    assert signing.restarted().check().root == state_of(signing).root


def test_an_altered_entry_is_set_aside_and_counts_for_nothing(signing: Signing, tmp_path: Path) -> None:
    sign(signing, 3)
    there = exported(signing, tmp_path / "export")
    change(signing, update(ledger_entries).where(ledger_entries.c.leaf_index == 1).values(entry='{"forged":true}'))
    with pytest.raises(Forked):
        signing.restarted().check()
    assert signing.restarted().put_back(there).set_aside == [1]
    assert [each.body["number"] for each in signing.entries()] == [0, 1, 2]
    with signing.store.reading() as connection:
        assert len(connection.execute(ledger_entries.select()).all()) == 4


def test_tiles_that_were_damaged_are_made_anew_where_the_entries_are_all_there(signing: Signing) -> None:
    sign(signing, 300)
    whole = [(0, 0), (0, 1), (1, 0)]
    for level, number in whole:
        change(signing, update(tiles).where(tiles.c.level == level, tiles.c.number == number).values(hashes=b"?" * 32))
        assert signing.restarted().check().tiles_differ
        assert not signing.restarted().check().tiles_differ
    change(signing, delete(tiles))
    sign(signing, 1)
    assert check_line(signing) == 301
    assert not signing.restarted().check().tiles_differ


def test_a_refusal_outlives_a_database_that_is_put_back_whole(one: Signing, tmp_path: Path) -> None:
    sign(one, 3)
    copy(one, tmp_path / "whole.db")
    change(one, delete(ledger_entries).where(after(2)))
    with pytest.raises(Forked):
        one.restarted().step()
    put_back(one, tmp_path / "whole.db")
    with pytest.raises(Forked, match="nothing has been signed since"):
        one.restarted().step()
    one.restarted().resume(AGREED, granted)
    assert check_line(one) == 4


def test_what_two_persons_did_not_agree_on_ends_no_refusal(one: Signing) -> None:
    sign(one, 3)
    change(one, update(ledger_entries).where(ledger_entries.c.leaf_index == 1).values(kind="hold"))
    with pytest.raises(Forked):
        one.restarted().check()
    change(one, update(ledger_entries).where(ledger_entries.c.leaf_index == 1).values(kind="token"))

    def refused(_connection: Connection) -> dict[str, str]:
        raise Conflict("nobody has approved it")

    with pytest.raises(Conflict, match="nobody"):
        one.restarted().resume(AGREED, refused)
    with pytest.raises(Forked):
        one.restarted().step()
    assert len(one.entries()) == 3


def test_a_crash_while_somebody_resumes_is_finished_by_the_next_step(one: Signing) -> None:
    sign(one, 3)
    change(one, update(ledger_entries).where(ledger_entries.c.leaf_index == 1).values(kind="hold"))
    with pytest.raises(Forked):
        one.restarted().check()
    change(one, update(ledger_entries).where(ledger_entries.c.leaf_index == 1).values(kind="token"))
    signer, swaps = one.restarted(), iter(range(1))

    def cut(call: str) -> None:
        if call == "swap" and next(swaps, None) is None:
            raise RuntimeError("the process is gone")

    one.document.before = cut
    with pytest.raises(RuntimeError):
        signer.resume(AGREED, granted)
    assert one.restarted().keep_up() == 4
    assert state_of(one).refused is None


def test_nothing_is_resumed_where_nothing_was_refused(one: Signing) -> None:
    sign(one, 1)
    with pytest.raises(Conflict, match="nothing is refused"):
        one.restarted().resume(AGREED, granted)


def test_a_copy_with_another_entry_or_too_few_puts_nothing_back(one: Signing, tmp_path: Path) -> None:
    sign(one, 300)
    exported(one, tmp_path / "old")
    sign(one, 3)
    exported(one, tmp_path / "forged")
    bundle = tmp_path / "forged" / "tile" / "entries" / "000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"number":17', b'"number":71', 1))
    change(one, delete(ledger_entries).where(after(290)))
    for folder, words in (("old", "300 of the 303"), ("forged", "or others than those"), ("none", "cannot be read")):
        with pytest.raises(Conflict, match=words):
            one.restarted().put_back(Folder(tmp_path / folder))
    assert len(one.entries()) == 290


def older_than_its_copy(one: Signing, folder: Path) -> Folder:
    """300 entries are signed and then 20 more; an export has all, database and keyring are put back to before them."""
    sign(one, 300)
    before = one.document.content
    sign(one, 20)
    there = exported(one, folder)
    one.document.content = before
    change(one, delete(ledger_entries).where(after(200)))
    change(one, delete(checkpoint_rows))
    with pytest.raises(Forked):
        one.restarted().step()
    return there


def test_a_copy_with_a_newer_checkpoint_of_the_log_brings_the_state_forward_to_it(one: Signing, tmp_path: Path) -> None:
    there = older_than_its_copy(one, tmp_path / "export")
    signed = there.get("checkpoint")
    done = one.restarted().put_back(there)
    assert (done.size, done.entries) == (320, 120)
    assert (state_of(one).size, state_of(one).refused is None) == (320, False)
    assert state_of(one).note.encode() == signed
    one.append(1, other="line")
    with pytest.raises(Forked):
        one.restarted().step()
    one.restarted().resume(AGREED, granted)
    one.restarted().keep_up()
    assert check_line(one) == 323
    restored = [each.body for each in one.entries() if each.kind == "restore"]
    told = [(each["what"], each.get("from"), each.get("to")) for each in restored]
    assert told == [("state", 300, 320), ("database", None, None)]


def test_a_copy_brings_the_state_forward_through_a_change_of_key(one: Signing, tmp_path: Path) -> None:
    sign(one, 3)
    before = one.document.content
    one.restarted().rotate(AGREED, granted)
    sign(one, 2)
    there = exported(one, tmp_path / "export")
    newest = state_of(one)
    one.document.content = before
    change(one, delete(ledger_entries).where(after(2)))
    change(one, delete(checkpoint_rows))
    assert one.restarted().put_back(there).size == 6
    assert (state_of(one).key, state_of(one).root) == (newest.key, newest.root)


@pytest.mark.parametrize("how", ["unsigned", "another key", "another root"])
def test_a_copy_whose_newer_checkpoint_is_not_the_log_s_puts_nothing_back(
    one: Signing, tmp_path: Path, how: str
) -> None:
    there = older_than_its_copy(one, tmp_path / "export")
    file = tmp_path / "export" / "checkpoint"
    said = parse(file.read_bytes())
    if how == "unsigned":
        text = Checkpoint(ORIGIN, 320, bytes(32)).format()
        file.write_bytes(Note(text, said.signatures).format())
    else:
        key = NoteSigner.generate(ORIGIN) if how == "another key" else Keys(one.secret).all()[0]
        checkpoint = Checkpoint.parse(said.text)
        if how == "another root":
            checkpoint = replace(checkpoint, root=bytes(32))
        file.write_bytes(noted(checkpoint, [key]))
    known = one.document.content
    with pytest.raises(Conflict, match="not one that this log has signed over its entries"):
        one.restarted().put_back(there)
    assert one.document.content == known
    assert len(one.entries()) == 200


def test_an_approval_that_was_used_ends_no_second_refusal(one: Signing) -> None:
    sign(one, 3)
    place = update(ledger_entries).where(ledger_entries.c.leaf_index == 1)

    def refused(_connection: Connection) -> dict[str, str]:
        raise Conflict("it was used")

    for grant in (granted, refused):
        change(one, place.values(kind="hold"))
        with pytest.raises(Forked):
            one.restarted().check()
        change(one, place.values(kind="token"))
        one.clock.forward(minutes=1)
        if grant is granted:
            one.restarted().resume(AGREED, grant)
    with pytest.raises(Conflict, match="used"):
        one.restarted().resume(AGREED, refused)
    one.append(1)
    for _ in range(2):
        with pytest.raises(Forked, match="nothing has been signed since"):
            one.restarted().step()
    assert state_of(one).refused is not None


def test_an_entry_about_an_earlier_refusal_ends_no_later_one(one: Signing) -> None:
    """A process is gone after it has named an approval, and before the entry is there: an older one is not taken."""
    sign(one, 3)
    place = update(ledger_entries).where(ledger_entries.c.leaf_index == 1)
    for time in range(2):
        change(one, place.values(kind="hold"))
        with pytest.raises(Forked):
            one.restarted().check()
        change(one, place.values(kind="token"))
        if time == 0:
            one.restarted().resume(AGREED, granted)
        one.clock.forward(minutes=1)
    state = state_of(one)
    assert state.refused is not None
    named = msgspec.structs.replace(state, refused=msgspec.structs.replace(state.refused, approval=AGREED))
    one.document.content = named.written()
    with pytest.raises(Forked, match="nothing has been signed since"):
        one.restarted().step()


def test_leaves_of_records_that_were_carried_over_are_put_back_or_named(one: Signing, tmp_path: Path) -> None:
    members = sorted(bytes([each]) * 32 for each in range(2))
    shelf = "kept-0011223344556677-1"
    for part in ("00000000000000aa", "00000000000000bb"):
        body = {"part": part, "papers": 2, "root": tree.root_of_set(members).hex(), "from": "2026-11-20"}
        with one.store.transaction() as connection:
            log.append(connection, "kept", body, now=one.clock(), shelf=shelf)
            if part.endswith("aa"):
                held = {"id": f"{part}:{shelf}", "shelf": shelf, "hashes": b"".join(members)}
                connection.execute(leaves.insert().values(held))
    one.restarted().keep_up()
    there = exported(one, tmp_path / "export")
    change(one, delete(ledger_entries))
    change(one, delete(leaves))
    done = one.restarted().put_back(there)
    assert (done.leaves, done.without_leaves) == (1, [f"00000000000000bb:{shelf}"])


def test_leaves_that_were_lost_with_their_entries_are_put_back(one: Signing, tmp_path: Path) -> None:
    sign(one, 1)
    members = sorted(bytes([each]) * 32 for each in range(3))
    body = {"slice": "00000000000000aa", "root": tree.root_of_set(members).hex()}
    with one.store.transaction() as connection:
        log.append(connection, "slice", body, now=one.clock(), shelf="2026-11-20")
        connection.execute(leaves.insert().values(id=body["slice"], shelf="2026-11-20", hashes=b"".join(members)))
    one.restarted().keep_up()
    there = exported(one, tmp_path / "export")
    change(one, delete(ledger_entries).where(after(1)))
    change(one, delete(leaves))
    done = one.restarted().put_back(there)
    assert (done.leaves, done.without_leaves) == (1, [])
    with one.store.reading() as connection:
        assert connection.execute(leaves.select()).one().hashes == b"".join(members)


def test_a_keyring_store_older_than_the_newest_checkpoint_is_brought_forward(signing: Signing) -> None:
    sign(signing, 3)
    old = signing.document.content
    sign(signing, 4)
    sign(signing, 5)
    signing.document.content = old
    signing.append(1)
    assert signing.restarted().keep_up() == 14
    [restored] = [each for each in signing.entries() if each.kind == "restore"]
    assert (restored.body["what"], restored.body["from"], restored.body["to"]) == ("state", 3, 12)
    assert check_line(signing) == 14


def test_a_state_that_is_lost_altogether_comes_back_through_a_change_of_key(signing: Signing) -> None:
    sign(signing, 3)
    signer = signing.restarted()
    signer.rotate(AGREED, granted)
    sign(signing, 2)
    signing.document.content = None
    assert signing.restarted().keep_up() == 7
    assert state_of(signing).key == str(Keys(signing.secret).all()[0].verifier)
    assert check_line(signing) == 7


def test_a_keyring_store_and_key_from_before_a_change_of_key_sign_nothing(one: Signing) -> None:
    sign(one, 3)
    old = (one.document.content, one.secret.content)
    one.restarted().rotate(AGREED, granted)
    sign(one, 2)
    one.document.content, one.secret.content = old
    one.append(1)
    with pytest.raises(KeyMissing):
        one.restarted().keep_up()
    assert check_line(one) == 6


def test_a_keyring_store_from_before_a_change_of_key_is_brought_forward_to_the_key_of_now(one: Signing) -> None:
    sign(one, 3)
    old = one.document.content
    one.restarted().rotate(AGREED, granted)
    one.document.content = old
    one.append(1)
    assert one.restarted().keep_up() == 6
    assert state_of(one).key == str(Keys(one.secret).all()[0].verifier)
    assert check_line(one) == 6


@pytest.mark.parametrize("times", [1, 2])
def test_a_keyring_store_from_before_a_loss_is_brought_forward_to_the_key_that_this_machine_has(
    one: Signing, times: int
) -> None:
    sign(one, 3)
    old = one.document.content
    for _ in range(times):
        one.secret.content = None
        one.restarted().replace(AGREED, granted)
    sign(one, 1)
    one.document.content = old
    assert one.restarted().keep_up() == 5 + times
    assert state_of(one).key == str(Keys(one.secret).all()[0].verifier)
    assert check_line(one) == 5 + times


def test_a_key_that_calls_itself_the_lost_ones_successor_is_not_believed_where_this_machine_does_not_have_it(
    one: Signing,
) -> None:
    sign(one, 3)
    mine, old = one.secret.content, one.document.content
    one.secret.content = None
    one.restarted().replace(AGREED, granted)  # as whoever has the database alone would write it
    one.document.content, one.secret.content = old, mine
    with pytest.raises(Forked, match="does not follow"):
        one.restarted().keep_up()
    assert state_of(one).size == 3


def test_key_and_state_that_are_both_lost_come_back_by_the_key_that_auditors_know(one: Signing) -> None:
    sign(one, 3)
    known = state_of(one).key
    one.document.content = one.secret.content = None
    with pytest.raises(KeyMissing):
        one.restarted().keep_up()
    with one.store.reading() as connection:
        with pytest.raises(Conflict, match="not signed by that key"):
            recovered(connection, ORIGIN, str(NoteSigner.generate(ORIGIN).verifier))
        one.document.content = recovered(connection, ORIGIN, known).written()
    one.restarted().replace(AGREED, granted)
    assert sign(one, 1) == check_line(one) == 5
    change(one, update(ledger_entries).where(ledger_entries.c.leaf_index == 1).values(entry="{}"))
    with one.store.reading() as connection, pytest.raises(Conflict, match="entries that are there"):
        recovered(connection, ORIGIN, state_of(one).key)


@pytest.mark.parametrize("what", ["entry", "note", "size"])
def test_checkpoints_that_do_not_follow_are_not_believed(one: Signing, what: str) -> None:
    sign(one, 3)
    old = one.document.content
    sign(one, 4)
    one.document.content = old
    if what == "entry":
        change(one, update(ledger_entries).where(ledger_entries.c.leaf_index == 5).values(entry="{}"))
    elif what == "note":
        note = state_of(one).note.replace("\n3\n", "\n7\n").encode()
        change(one, update(checkpoint_rows).where(checkpoint_rows.c.size == 7).values(note=note))
    else:
        change(one, update(checkpoint_rows).where(checkpoint_rows.c.size == 7).values(size=8))
    with pytest.raises(Forked, match="does not follow"):
        one.restarted().step()
    assert state_of(one).size == 3


def test_both_put_back_together_look_sound_and_the_witness_notices(one: Signing, tmp_path: Path) -> None:
    sign(one, 3)
    copy(one, tmp_path / "old.db")
    old = one.document.content
    sign(one, 4, first="line")
    key = Verifier.parse(state_of(one).key)
    file = MemoryFile(tmp_path / "witness")
    watch = Watch(exported(one, tmp_path / "first"), file, Cosigner.generate("witness.example"))
    assert watch.look(one.clock(), key).cosignature is not None
    put_back(one, tmp_path / "old.db")
    one.document.content = old
    assert sign(one, 2, second="line") == 5
    for number, kind in ((0, "rolled-back"), (4, "forked")):
        sign(one, number)
        watch = Watch(exported(one, tmp_path / kind), file, Cosigner.generate("witness.example"))
        seen = watch.look(one.clock())
        assert seen.cosignature is None
        assert kind in [each.kind for each in seen.findings]
