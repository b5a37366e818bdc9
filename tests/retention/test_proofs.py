"""The proof of a report lies beside it as soon as it can be had, and only gives way to one with cosignatures."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.housing import House
from tests.retention.purging import OLDEST, Purging
from textkeep.errors import NotFound, Outage
from textkeep.ledger import checkpoints, log
from textkeep.ledger.cosignature import Cosigner, times
from textkeep.ledger.note import Checkpoint, Verifier, opened, parse
from textkeep.ledger.proof import Proof
from textkeep.retention.reports.chain import Chain
from textkeep.retention.reports.folder import ReportFolder
from textkeep.store.evidence import witnesses

pytestmark = pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)

NAME = OLDEST.shelf
AUDITOR = Cosigner.generate("auditor.example")


@pytest.fixture
def purging(house: House, tmp_path: Path) -> Iterator[Purging]:
    with Purging.over(house, tmp_path) as made:
        made.take(OLDEST)
        made.until(OLDEST.due())
        yield made


def file_of(purging: Purging, name: str = NAME) -> Path:
    return purging.folder / "reports" / f"{name}.tlog-proof"


def checked(purging: Purging, content: bytes, name: str = NAME) -> Proof:
    """The proof, which must be one of the entry about that report."""
    proof = Proof.parse(content)
    entry = purging.chain.entry(name)
    assert entry is not None
    with purging.house.store.reading() as connection:
        assert proof.extra == log.canonical(connection, entry.seq)
    note = parse(proof.note)
    assert opened(note, [Verifier.parse(purging.ledger.key())])
    checkpoint = Checkpoint.parse(note.text)
    proof.check(proof.extra or b"", checkpoint.size, checkpoint.root)
    return proof


def cosign(purging: Purging) -> None:
    """What a witness does with the newest checkpoint."""
    house = purging.house
    with house.store.transaction() as connection:
        newest = checkpoints.newest(connection)
        assert newest is not None
        line = AUDITOR.cosign(parse(newest.note).text, int(house.clock().timestamp())).line
        checkpoints.cosign(connection, newest.size, line, house.clock())


def set_witness(purging: Purging) -> None:
    with purging.house.behind.transaction() as connection:
        row = {"name": AUDITOR.name, "key": str(AUDITOR.witness), "since": purging.house.clock(), "until": None}
        connection.execute(insert(witnesses).values(row))


def test_a_report_has_its_proof_beside_it_when_the_run_ends(purging: Purging) -> None:
    assert purging.run(signed=purging.ledger).stopped is None
    content = file_of(purging).read_bytes()
    checked(purging, content)
    assert purging.chain.proof(NAME) == content


def test_the_report_of_a_day_without_a_run_has_one_too(purging: Purging) -> None:
    purging.run(signed=purging.ledger)
    purging.house.clock.forward(days=2)
    purging.run(confirm_days=2, signed=purging.ledger)
    missed = "missed-run-2026-11-24"
    checked(purging, file_of(purging, missed).read_bytes(), missed)


def test_without_a_signature_there_is_none_and_a_later_chore_writes_it(purging: Purging) -> None:
    """Killed between the report and its proof, or nobody signs: the report stands, the proof follows."""

    class Mute:
        """A signer that dies once the report is written."""

        def __getattr__(self, name: str) -> Any:
            return getattr(purging.ledger, name)

        def proof(self, _seq: int) -> bytes:
            raise Outage("gone")

    assert purging.run(signed=Mute()).stopped is None
    assert purging.state(OLDEST) == "reported"
    assert not file_of(purging).exists()
    purging.chain.keep()
    checked(purging, file_of(purging).read_bytes())


def test_an_entry_that_is_not_signed_has_no_proof_yet(purging: Purging) -> None:
    purging.run()
    chain = Chain(purging.house.store, purging.reports, purging.ledger)
    with pytest.raises(NotFound):
        chain.proof(NAME)
    assert chain.keep() == []
    purging.ledger.signer.keep_up()
    chain.keep()
    checked(purging, chain.proof(NAME))


def test_a_process_without_the_folder_has_the_proof_from_the_log(purging: Purging, tmp_path: Path) -> None:
    purging.run(signed=purging.ledger)
    elsewhere = Chain(purging.house.store, ReportFolder(tmp_path / "elsewhere"), purging.ledger)
    checked(purging, elsewhere.proof(NAME))


def test_a_proof_that_is_there_stays_while_the_log_grows(purging: Purging) -> None:
    purging.run(signed=purging.ledger)
    was = file_of(purging).read_bytes()
    purging.until(OLDEST.plus(1).due())
    purging.run(signed=purging.ledger)
    purging.chain.keep()
    assert file_of(purging).read_bytes() == was == purging.chain.proof(NAME)


def test_a_proof_gives_way_to_one_with_a_cosignature(purging: Purging) -> None:
    purging.run(signed=purging.ledger)
    was = file_of(purging).read_bytes()
    set_witness(purging)
    purging.take(OLDEST.plus(5), start=50)
    purging.ledger.signer.keep_up()
    purging.chain.keep()
    assert file_of(purging).read_bytes() == was
    cosign(purging)
    served = purging.chain.proof(NAME)
    purging.chain.keep()
    now = file_of(purging).read_bytes()
    assert now == served != was
    assert times(parse(checked(purging, now).note), AUDITOR.witness)


@pytest.mark.parametrize("change", ["another entry's", "altered", "carries another entry", "no proof at all"])
def test_what_is_no_proof_of_the_entry_stays_as_it_is_and_is_not_served(purging: Purging, change: str) -> None:
    purging.run(signed=purging.ledger)
    purging.until(OLDEST.plus(1).due())
    purging.run(signed=purging.ledger)
    path = file_of(purging)
    true = path.read_bytes()
    if change == "another entry's":
        path.write_bytes(file_of(purging, OLDEST.plus(1).shelf).read_bytes())
    elif change == "carries another entry":
        held = Proof.parse(true)
        path.write_bytes(Proof(held.index, held.path, held.note, b"{}").format())
    elif change == "altered":
        lines = true.split(b"\n")
        lines[3] = base64.b64encode(bytes(32))
        path.write_bytes(b"\n".join(lines))
    else:
        path.write_bytes(b"nothing")
    wrong = path.read_bytes()
    set_witness(purging)
    cosign(purging)
    purging.chain.keep()
    assert path.read_bytes() == wrong
    checked(purging, purging.chain.proof(NAME))


def test_a_proof_by_the_key_before_is_still_one(purging: Purging) -> None:
    """The witness has signed nothing since the ledger's key was changed."""
    set_witness(purging)
    purging.house.clock.forward(seconds=1)
    purging.run(signed=purging.ledger, signing_patience=5.0, witness_patience=0.0)
    cosign(purging)
    purging.run(signed=purging.ledger, signing_patience=5.0, witness_patience=0.0)
    cosign(purging)
    purging.ledger.signer.rotate("a-0000000000000000", lambda _: {})
    purging.ledger.signer.keep_up()
    purging.chain.keep()
    proof = Proof.parse(file_of(purging).read_bytes())
    assert times(parse(proof.note), AUDITOR.witness)


@pytest.mark.parametrize("name", ["2020-01-01", "../ledger"])
def test_a_report_that_is_none_has_no_proof(purging: Purging, name: str) -> None:
    with pytest.raises(NotFound):
        purging.chain.proof(name)
