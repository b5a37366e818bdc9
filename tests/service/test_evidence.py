"""What the service makes of the ledger: its state with the keyring, who signs and who waits, tokens of time."""

import base64
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive.keeping import Keeping
from tests.housing import House
from tests.ledger.signing import Secret
from tests.ledger.time_authority import time_authority
from textkeep.archive.drivers.keyring_sql import SqlStore
from textkeep.archive.keyring import Keyring
from textkeep.errors import NotFound, Outage
from textkeep.ledger import log
from textkeep.ledger.note import Checkpoint, parse
from textkeep.ledger.proof import Proof
from textkeep.ledger.timestamp import TimeAuthority
from textkeep.retention.approvals.approvals import Approvals
from textkeep.service.evidence import Evidence, KeyringState


@pytest.fixture(params=["file", "sql"])
def keeping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeping]:
    """A keyring's store, by each of its drivers."""
    url = request.getfixturevalue("postgres") if request.param == "sql" else ""
    if url:
        store = SqlStore(url)
        store.prepare()
        store.close()
    made = Keeping(request.param, tmp_path / "kept", url)
    yield made
    made.close()


def evidence(house: House, *, keyring: Keyring | None = None, authority: TimeAuthority | None = None) -> Evidence:
    approvals = Approvals(house.store, house.sealer, house.clock)
    return Evidence(house.store, keyring or house.keyring, Secret(), approvals, house.clock, authority=authority)


def append(house: House, number: int = 1) -> list[int]:
    with house.store.transaction() as connection:
        return [log.append(connection, "token", {"number": at}, now=house.clock()) for at in range(number)]


def test_a_state_is_swapped_by_comparison_wherever_the_keyring_lies(keeping: Keeping) -> None:
    one, other = KeyringState(keeping.store()), KeyringState(keeping.store())
    assert one.read() is None
    assert one.swap(None, b"1")
    assert not other.swap(None, b"x")
    assert other.swap(b"1", b"2")
    assert not one.swap(b"1", b"3")
    assert one.read() == other.read() == b"2"


def test_of_many_who_swap_at_once_one_is_quicker(keeping: Keeping) -> None:
    state = KeyringState(keeping.store())
    state.swap(None, b"0")
    done: list[bool] = []
    workers = [
        threading.Thread(target=lambda own=own: done.append(state.swap(b"0", own))) for own in (b"1", b"2", b"3", b"4")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(done) == [False, False, False, True]


def test_a_process_that_keeps_signs_what_a_purge_waits_for(house: House) -> None:
    ledger = evidence(house)
    seqs = append(house, 3)
    with pytest.raises(NotFound):
        ledger.proof(seqs[1])
    signature = ledger.through(seqs, 0.0)
    assert signature.size >= 3
    assert sorted(signature.indices) == seqs
    assert signature.witnesses == ()
    said = Checkpoint.parse(parse(signature.note).text)
    assert said.size == signature.size
    proof = Proof.parse(ledger.proof(seqs[1]))
    assert proof.index == signature.indices[seqs[1]]
    proof.check(proof.extra or b"", said.size, said.root)
    assert ledger.time_token(signature.note) is None
    assert ledger.status()["time"] == "host clock only"


def test_a_process_that_does_not_keep_waits_until_another_has_signed(house: House) -> None:
    reader = Keyring.open(house.keyring.documents, house.keyring._root, create=False, keeps=False)
    waiting, signing = evidence(house, keyring=reader), evidence(house)
    seqs = append(house, 2)
    with pytest.raises(Outage, match="not signed yet"):
        waiting.through(seqs, 0.1)
    with pytest.raises(NotFound):
        waiting.key()
    worker = threading.Thread(target=signing.start)
    worker.start()
    try:
        assert waiting.through(seqs, 60.0).size >= 2
    finally:
        worker.join()
        signing.stop()
    assert waiting.key() == signing.key()


def test_a_purge_gets_a_token_over_the_very_note(house: House, tmp_path: Path) -> None:
    pytest.importorskip("rfc3161_client")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there")
    with time_authority(tmp_path / "tsa") as authority:
        ledger = evidence(house, authority=TimeAuthority(authority.url, authority.roots))
        note = ledger.through(append(house), 0.0).note
        token = ledger.time_token(note)
        assert token is not None
        assert authority.verifies(base64.b64decode(token), note)
        assert ledger.status()["time"] == "time authority"
