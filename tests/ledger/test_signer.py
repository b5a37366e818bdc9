"""The signer: what is committed is signed in one line, whatever stops it in between, however many there are."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, update

from tests.engines.databases import Prepared
from tests.housing import SetClock
from tests.ledger.signing import ORIGIN, Document, Signing
from textkeep.errors import Conflict, Outage, TextkeepError, Unsound
from textkeep.ledger import checkpoints, proving, tree
from textkeep.ledger.integrating import assign, not_signed
from textkeep.ledger.key_change import KeyLost, signed_change, signed_loss
from textkeep.ledger.keys import Keys
from textkeep.ledger.note import Checkpoint, Verifier, opened, parse
from textkeep.ledger.note import Signer as Key
from textkeep.ledger.proof import Proof
from textkeep.ledger.signer import LEASE, Signer
from textkeep.ledger.state import KeyMissing
from textkeep.store.engine import Store
from textkeep.store.evidence import cosignatures, witnesses
from textkeep.store.leases import Leases
from textkeep.store.schema import migrate
from textkeep.store.tables import ledger_entries


@pytest.fixture
def signing(store: Store, clock: SetClock) -> Signing:
    return Signing(store, clock)


@pytest.fixture
def alone(clock: SetClock) -> Iterator[Signing]:
    """Signing on one engine: what is tested is no engine's own."""
    opened = Store.open("sqlite://")
    migrate(opened)
    yield Signing(opened, clock)
    opened.close()


def newest(signing: Signing) -> Checkpoint:
    """The newest checkpoint, as anybody would check it."""
    with signing.store.reading() as connection:
        found = checkpoints.newest(connection)
    state = signing.signer().state()
    assert found is not None
    assert state is not None
    note = parse(found.note)
    opened(note, [Verifier.parse(state.key)])
    return Checkpoint.parse(note.text)


def check_line(signing: Signing) -> int:
    """Every checkpoint there is names the root of the entries before it; gives the size of the newest."""
    leaves = [tree.leaf_hash(entry) for entry in signing.in_order()]
    with signing.store.reading() as connection:
        known = checkpoints.beyond(connection, -1)
    for each in known:
        said = Checkpoint.parse(parse(each.note).text)
        assert (said.origin, said.root) == (ORIGIN, tree.root(leaves[: said.size]))
    return known[-1].size if known else 0


def test_what_is_committed_is_signed_in_the_order_of_its_numbers(signing: Signing) -> None:
    signing.append(3)
    assert signing.signer().keep_up() == 3
    said = newest(signing)
    assert (said.origin, said.size) == (ORIGIN, 3)
    assert said.root == tree.root([tree.leaf_hash(each) for each in signing.in_order()])
    assert [each.index for each in signing.entries()] == [0, 1, 2]


def test_a_backlog_is_signed_in_portions_of_one_line(signing: Signing) -> None:
    signer = signing.signer(portion=100)
    signing.append(257)
    assert signer.keep_up() == 257
    assert signer.step() is None
    assert signer.idle()
    signing.append(1)
    assert not signer.idle()
    assert signer.keep_up() == 258
    assert check_line(signing) == 258


def test_a_portion_counts_those_that_wait_and_not_those_that_are_placed_or_set_aside(signing: Signing) -> None:
    signing.append(3)
    signing.signer().keep_up()
    aside, *placed = signing.append(4)
    waiting = signing.append(3)
    with signing.store.transaction() as connection:
        assign(connection, [(aside, -1), *((seq, at) for at, seq in enumerate(placed, 3))])
    with signing.store.reading() as connection:
        found = not_signed(connection, 3, portion=2)
        nothing = not_signed(connection, 0, portion=9)
    assert found.last is not None
    assert found.last.leaf_index == 2
    assert [row.seq for row in found.placed] == placed
    assert ([row.seq for row in found.waiting], found.full) == (waiting[:2], True)
    assert (nothing.last, len(nothing.placed), len(nothing.waiting), nothing.full) == (None, 6, 3, False)


def test_the_state_and_its_key_outlive_the_process(signing: Signing) -> None:
    signing.append(2)
    signing.signer().keep_up()
    key = newest(signing)
    signing.append(2)
    assert signing.restarted().keep_up() == 4
    assert len(signing.secret.written) == 1
    assert key.origin == newest(signing).origin
    assert check_line(signing) == 4


def test_an_entry_is_proven_against_the_newest_checkpoint(signing: Signing) -> None:
    seqs = signing.append(5)
    with signing.store.reading() as connection, pytest.raises(proving.Pending):
        proving.proof(connection, seqs[0])
    signing.signer().keep_up()
    with signing.store.reading() as connection:
        proven = Proof.parse(proving.proof(connection, seqs[3]))
    said = Checkpoint.parse(parse(proven.note).text)
    proven.check(signing.in_order()[3], said.size, said.root)
    assert (proven.index, proven.extra) == (3, signing.in_order()[3])


class _Cut(Exception):
    """The process is gone."""


@contextmanager
def _cut_at(store: Store, when: Callable[[str], bool]) -> Iterator[None]:
    """Have the process end at the first statement that `when` says, before it is done."""

    def told(_c: object, _cursor: object, statement: str, _p: object, _x: object, _many: bool) -> None:
        if when(statement):
            raise _Cut(statement)

    event.listen(store._writer, "before_cursor_execute", told)
    try:
        yield
    finally:
        event.remove(store._writer, "before_cursor_execute", told)


@contextmanager
def _cut_after(signing: Signing, number: int) -> Iterator[None]:
    """Have the process end once so many changes were made, at the database or the keyring's store."""
    calls = iter(range(number))

    def cut(_told: object) -> bool:
        if next(calls, None) is None:
            raise _Cut
        return False

    signing.document.before = signing.document.after = cut
    changing = ("INSERT", "UPDATE")
    with _cut_at(signing.store, lambda told: told.startswith(changing) and cut(told)), suppress(_Cut):
        yield


def _every_statement(store: Store, work: Callable[[], object]) -> list[str]:
    """What is told to the database while something is done."""
    heard: list[str] = []

    def told(_c: object, _cursor: object, statement: str, _p: object, _x: object, _many: bool) -> None:
        heard.append(statement)

    event.listen(store._writer, "before_cursor_execute", told)
    work()
    event.remove(store._writer, "before_cursor_execute", told)
    return heard


@pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
def test_after_a_crash_at_any_statement_the_next_step_signs_the_same_line(signing: Signing) -> None:
    signing.signer().keep_up()
    signing.append(3)
    count = len(_every_statement(signing.store, lambda: signing.restarted().keep_up()))
    assert count >= 8
    size = 3
    for at in range(count):
        signing.append(3)
        left = iter(range(at))
        with _cut_at(signing.store, lambda _s, left=left: next(left, None) is None), pytest.raises(_Cut):  # type: ignore[misc]
            signing.restarted().keep_up()
        size += 3
        signing.restarted().keep_up()
        assert newest(signing).size == size
    assert check_line(signing) == size


@pytest.mark.parametrize("call", ["read", "swap", "swapped"])
def test_after_a_crash_at_the_keyring_s_store_the_next_step_signs_the_same_line(signing: Signing, call: str) -> None:
    signing.append(3)
    signing.signer().keep_up()
    signing.append(3)
    signer = signing.restarted()

    def cut(told: str) -> None:
        if told == call.removesuffix("ped"):
            raise _Cut(told)

    if call == "swapped":
        signing.document.after = cut
    else:
        signing.document.before = cut
    with pytest.raises(_Cut):
        signer.keep_up()
    signing.append(1)
    signing.restarted().keep_up()
    assert check_line(signing) == newest(signing).size == 7


def test_a_crash_while_the_first_key_is_made_leaves_one_key(alone: Signing) -> None:
    def cut(told: str) -> None:
        if told == "swap":
            raise _Cut(told)

    alone.document.before = cut
    alone.append(1)
    with pytest.raises(_Cut):
        alone.signer().step()
    assert alone.restarted().keep_up() == 1
    assert len(alone.secret.written) == 1


def test_of_two_signers_one_works_and_the_other_takes_over(alone: Signing) -> None:
    one, other = alone.signer(), alone.signer()
    alone.append(2)
    assert one.keep_up() == 2
    alone.append(2)
    assert other.step() is None
    alone.clock.forward(seconds=31)
    assert other.keep_up() == 4
    alone.append(1)
    assert one.step() is None
    other.close()
    assert one.keep_up() == 5
    assert check_line(alone) == 5


def test_a_signer_that_was_overtaken_between_integrating_and_signing_signs_nothing(alone: Signing) -> None:
    slow, quick = alone.signer(), alone.signer()
    alone.append(2)
    slow.keep_up()
    alone.append(2)
    overtaken: list[int] = []

    def meanwhile(call: str) -> None:
        if call == "swap" and not overtaken:
            overtaken.append(1)
            alone.clock.forward(seconds=31)
            quick.keep_up()

    alone.document.before = meanwhile
    assert slow.step() is None
    assert check_line(alone) == newest(alone).size == 4


class _Late(Document):
    """What was read comes late: others had the time to do something in between, once."""

    def __init__(self, content: bytes | None, meanwhile: Callable[[], object]) -> None:
        super().__init__(content)
        self._meanwhile = [meanwhile]

    def read(self) -> bytes | None:
        content = super().read()
        while self._meanwhile:
            self._meanwhile.pop()()
        return content


def test_a_signer_that_was_overtaken_before_it_had_the_lease_takes_no_state_for_put_back(alone: Signing) -> None:
    alone.append(1)
    quick = alone.signer()
    quick.keep_up()

    def meanwhile() -> None:
        other = alone.signer()
        other.keep_up()
        other.close()

    quick.close()
    alone.append(1)
    alone.document = _Late(alone.document.content, meanwhile)
    slow = alone.signer()
    assert slow.step() is None
    assert [each.kind for each in alone.entries()] == ["token", "token"]
    alone.append(1)
    assert slow.keep_up() == check_line(alone) == 3


def test_two_signers_at_once_sign_one_line(blank_postgres: Prepared, clock: SetClock) -> None:
    blank_postgres.baseline.restore()
    signing = Signing(Store.open(blank_postgres.database.service), clock)
    errors: list[BaseException] = []

    def sign(signer: Signer) -> None:
        try:
            for _ in range(12):
                signing.append(7)
                signer.keep_up()
                signer.close()
        except BaseException as exc:  # noqa: BLE001  told to the test
            errors.append(exc)

    signing.signer().keep_up()
    Leases(signing.store, signing.clock).clear()
    workers = [threading.Thread(target=sign, args=(signing.signer(portion=5),)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    signing.signer(portion=50).keep_up()
    assert check_line(signing) == 3 * 12 * 7
    assert sorted(each.index or 0 for each in signing.entries()) == list(range(3 * 12 * 7))
    signing.store.close()


def test_a_later_commit_with_an_earlier_number_comes_later(blank_postgres: Prepared, clock: SetClock) -> None:
    blank_postgres.baseline.restore()
    store = Store.open(blank_postgres.database.service)
    signing = Signing(store, clock)
    begun, go = threading.Event(), threading.Event()

    def slow() -> None:
        with store.transaction() as connection:
            _append(connection, signing, "slow")
            begun.set()
            go.wait(30)

    worker = threading.Thread(target=slow)
    worker.start()
    begun.wait(30)
    with store.transaction() as connection:
        _append(connection, signing, "quick")
    signing.signer().keep_up()
    go.set()
    worker.join()
    Leases(store, clock).clear()
    signing.signer().keep_up()
    order = sorted(signing.entries(), key=lambda each: each.index or 0)
    assert [each.body["who"] for each in order] == ["quick", "slow"]
    assert order[0].seq > order[1].seq
    store.close()


def _append(connection: Connection, signing: Signing, who: str) -> None:
    from textkeep.ledger import log

    log.append(connection, "token", {"who": who}, now=signing.clock())


def test_nothing_is_signed_without_the_key_that_signed_before(alone: Signing) -> None:
    alone.append(1)
    alone.signer().keep_up()
    alone.secret.content = None
    alone.append(1)
    with pytest.raises(KeyMissing):
        alone.signer().step()
    assert newest(alone).size == 1


def test_a_new_key_is_not_made_where_something_was_signed(alone: Signing) -> None:
    alone.append(1)
    alone.signer().keep_up()
    alone.secret.content = alone.document.content = None
    with pytest.raises(KeyMissing):
        alone.signer().step()
    assert alone.secret.content is None


def test_a_file_that_is_no_key_is_told_without_quoting_it(alone: Signing) -> None:
    alone.secret.content = b"PRIVATE+KEY+something"
    with pytest.raises(Unsound, match="damaged") as told:
        alone.signer().step()
    assert "something" not in told.value.detail


def test_a_state_that_was_damaged_is_refused(alone: Signing) -> None:
    alone.append(3)
    alone.signer().keep_up()
    whole = alone.document.content or b""
    for damaged in (
        b"",
        whole[:-5],
        whole.replace(b'"size":3', b'"size":2'),
        whole.replace(b"textkeep/00", b"textkeep/01"),
    ):
        alone.document.content = damaged
        with pytest.raises(TextkeepError):
            alone.signer().step()
    alone.document.content = whole
    assert alone.restarted().step() is None


@pytest.mark.parametrize(
    "values",
    [{"entry": '{"v":1'}, {"kind": "hold"}, {"shelf": "2026-11-21"}, {"entry": '{"v":1,"kind":"own","time":"now"}'}],
    ids=["not-json", "kind", "shelf", "unknown-kind"],
)
def test_an_entry_that_the_house_does_not_write_is_not_signed(alone: Signing, values: dict[str, Any]) -> None:
    seq = alone.append(2)[1]
    with alone.store.transaction() as connection:
        connection.execute(update(ledger_entries).where(ledger_entries.c.seq == seq).values(values))
    signer = alone.signer()
    with pytest.raises(Unsound, match=f"entry {seq} of the ledger"):
        signer.step()
    state = signer.state()
    assert state is not None
    assert state.size == 0


def test_a_store_that_does_not_answer_is_an_outage_and_the_next_step_goes_on(alone: Signing) -> None:
    def silent(_call: str) -> None:
        raise Outage("the keyring's database does not answer")

    alone.append(1)
    alone.document.before = silent
    with pytest.raises(Outage):
        alone.signer().step()
    assert alone.restarted().keep_up() == 1


def test_a_change_of_key_is_signed_by_both_and_the_old_one_is_gone(signing: Signing) -> None:
    signing.append(2)
    signer = signing.signer()
    signer.keep_up()
    old = Keys(signing.secret).all()[0].verifier
    new = signer.rotate("a-1", lambda _connection: {"asked_by": "aa"})
    assert [str(each.verifier) for each in Keys(signing.secret).all()] == [new]
    [change] = [each for each in signing.entries() if each.kind == "key-change"]
    with signing.store.reading() as connection:
        first = checkpoints.beyond(connection, change.index or 0)[0]
    assert first.size == (change.index or 0) + 1
    note = parse(first.note)
    assert opened(note, [old, Verifier.parse(new)]) == [old, Verifier.parse(new)]
    signing.append(1)
    signer.keep_up()
    with signing.store.reading() as connection:
        last = checkpoints.newest(connection)
    assert last is not None
    assert [each.key_id for each in parse(last.note).signatures] == [Verifier.parse(new).key_id]
    assert change.body["asked_by"] == "aa"
    assert check_line(signing) == 4


def test_a_change_of_key_that_is_not_signed_by_the_old_one_changes_nothing(alone: Signing) -> None:
    signer = alone.signer()
    signer.keep_up()
    mine = Keys(alone.secret).all()[0]
    stranger, other = Key.generate(ORIGIN), Key.generate(ORIGIN)
    alone.append(1, "key-change", note=signed_change(ORIGIN, stranger, other))
    alone.append(1, "key-change", note="nothing of the kind")
    signer.keep_up()
    state = signer.state()
    assert state is not None
    assert state.key == str(mine.verifier)
    assert newest(alone).size == 2


@pytest.mark.parametrize("at", range(24))
def test_after_a_crash_during_a_change_of_key_it_is_finished_or_was_never_begun(alone: Signing, at: int) -> None:
    alone.append(1)
    alone.signer().keep_up()
    signer = alone.restarted()
    with _cut_after(alone, at):
        signer.rotate("a-1", lambda _connection: {})
    signer = alone.restarted()
    alone.append(1)
    signer.keep_up()
    changed = [each for each in alone.entries() if each.kind == "key-change"]
    state = signer.state()
    assert state is not None
    known = [str(each.verifier) for each in Keys(alone.secret).all()]
    assert state.key == (known[-1] if changed else known[0])
    assert check_line(alone) == newest(alone).size == 2 + len(changed)


def lose_key(signing: Signing) -> str:
    """Lose the private key, with every copy; gives its verifier key."""
    [lost] = Keys(signing.secret).all()
    signing.secret.content = None
    return str(lost.verifier)


def test_after_a_loss_two_persons_begin_a_new_key_and_the_entry_names_the_lost_one(signing: Signing) -> None:
    signing.append(2)
    signing.signer().keep_up()
    old = lose_key(signing)
    signing.append(1)
    signer = signing.restarted()
    new = signer.replace("a-1", lambda _connection: {"asked_by": "aa", "approved_by": "bb"})
    assert [str(each.verifier) for each in Keys(signing.secret).all()] == [new]
    [change] = [each for each in signing.entries() if each.kind == "key-change"]
    lost = KeyLost.of(change.body)
    assert (str(lost.old), str(lost.new), change.body["approved_by"]) == (old, new, "bb")
    with signing.store.reading() as connection:
        last = checkpoints.newest(connection)
    assert last is not None
    assert [each.key_id for each in parse(last.note).signatures] == [Verifier.parse(new).key_id]
    signing.append(1)
    assert signing.restarted().keep_up() == check_line(signing) == 5


def test_a_key_that_is_there_is_not_replaced(alone: Signing) -> None:
    alone.append(1)
    alone.signer().keep_up()
    before = alone.secret.content
    with pytest.raises(Conflict, match="is there"):
        alone.restarted().replace("a-1", lambda _connection: {})
    assert alone.secret.content == before
    assert not [each for each in alone.entries() if each.kind == "key-change"]


def test_what_nobody_agreed_on_makes_no_new_key(alone: Signing) -> None:
    def refused(_connection: Connection) -> dict[str, str]:
        raise Conflict("nobody has approved it")

    alone.append(1)
    alone.signer().keep_up()
    old = lose_key(alone)
    with pytest.raises(Conflict, match="nobody"):
        alone.restarted().replace("a-1", refused)
    assert alone.secret.content is None
    state = alone.signer().state()
    assert state is not None
    assert (state.key, state.anew) == (old, None)


@pytest.mark.parametrize("at", range(14))
def test_after_a_crash_while_a_lost_key_is_replaced_it_is_finished_or_done_again(alone: Signing, at: int) -> None:
    alone.append(1)
    alone.signer().keep_up()
    lose_key(alone)
    signer = alone.restarted()
    with _cut_after(alone, at):
        signer.replace("a-1", lambda _connection: {})
    signer = alone.restarted()
    try:
        signer.keep_up()
    except KeyMissing:
        assert not [each for each in alone.entries() if each.kind == "key-change"]
        signer.replace("a-2", lambda _connection: {})
    alone.append(1)
    signer.keep_up()
    [lost] = [KeyLost.of(each.body) for each in alone.entries() if each.kind == "key-change"]
    state = signer.state()
    assert state is not None
    assert [str(each.verifier) for each in Keys(alone.secret).all()] == [state.key] == [str(lost.new)]
    assert check_line(alone) == 3


def test_an_entry_about_a_lost_key_that_somebody_else_wrote_changes_nothing(alone: Signing) -> None:
    signer = alone.signer()
    signer.keep_up()
    [mine] = Keys(alone.secret).all()
    alone.append(1, "key-change", note=signed_loss(ORIGIN, mine.verifier, Key.generate(ORIGIN)), approval="a-1")
    signer.keep_up()
    state = signer.state()
    assert state is not None
    assert state.key == str(mine.verifier)
    assert check_line(alone) == 1


def test_old_checkpoints_that_no_witness_signed_go_and_the_newest_stays(alone: Signing) -> None:
    for _ in range(3):
        alone.append(1)
        alone.signer().keep_up()
        Leases(alone.store, alone.clock).clear()
    alone.clock.forward(days=8)
    alone.append(1)
    alone.signer().keep_up()
    with alone.store.reading() as connection:
        assert [each.size for each in checkpoints.beyond(connection, -1)] == [4]


def test_the_lease_is_given_back(alone: Signing) -> None:
    signer = alone.signer()
    signer.keep_up()
    leases = Leases(alone.store, alone.clock)
    with alone.store.reading() as connection:
        assert leases.holder(connection, LEASE) is not None
    signer.close()
    with alone.store.reading() as connection:
        assert leases.holder(connection, LEASE) is None


def test_old_checkpoints_are_looked_for_with_the_first_signature_of_an_hour_and_not_with_each(alone: Signing) -> None:
    def looked() -> bool:
        alone.append(1)
        return any(told.startswith("DELETE FROM checkpoints") for told in _every_statement(alone.store, signer.keep_up))

    signer = alone.signer()
    signer.keep_up()
    assert not looked()
    alone.clock.forward(hours=1)
    assert looked()
    assert not looked()


def test_an_entry_s_best_checkpoint_is_one_that_a_witness_of_now_has_signed(signing: Signing) -> None:
    signer, now = signing.signer(), signing.clock()
    for _ in range(3):
        signing.append(2)
        signer.keep_up()
    with signing.store.transaction() as connection:
        for name, until in (("now", None), ("later", None), ("before", now)):
            connection.execute(insert(witnesses).values(name=name, key="key", since=now, until=until))
        for size, name in ((2, "now"), (4, "now"), (4, "before"), (6, "before")):
            connection.execute(insert(cosignatures).values(size=size, witness=name, at=now, line=f"{size} {name}"))
    with signing.store.reading() as connection:
        found = [checkpoints.best(connection, place) for place in (0, 3, 4, 6)]
    told = [(each.size, dict(each.cosigned)) for each in found if each is not None]
    both = (4, {"now": "4 now", "before": "4 before"})
    assert told == [both, both, (6, {"before": "6 before"})]


def test_a_signature_and_what_waits_for_it_cost_so_many_statements_and_no_more(signing: Signing) -> None:
    """They were 14 to 17, and 4 to 6: each is a round trip, and three signatures are in a purge's way."""
    signer = signing.signer()
    signing.append(300)
    signer.keep_up(stays=True)
    for released in (False, True):
        if released:
            signer.close()
        seqs = signing.append(2)
        told = _every_statement(signing.store, lambda: signer.keep_up(stays=True))
        assert len(told) == 8, told
        with signing.store.transaction() as connection:
            asked = _every_statement(signing.store, lambda c=connection, s=seqs: proving.covering(c, s))  # type: ignore[misc]
        assert len(asked) == 2, asked
