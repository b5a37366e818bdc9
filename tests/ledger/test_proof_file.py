"""The proof as a file: C2SP tlog-proof, one form for each."""

import pytest

from tests.ledger.sample_log import sample
from textkeep.ledger import tree
from textkeep.ledger.proof import HEADER, Proof
from textkeep.ledger.tree import ProofRefused

LOG = sample()
GOOD = LOG.proof(7)


def lines(content: bytes = GOOD) -> list[bytes]:
    return content.partition(b"\n\n")[0].split(b"\n")


def put(*head: bytes) -> bytes:
    return b"\n".join(head) + b"\n\n" + GOOD.partition(b"\n\n")[2]


def test_a_proof_is_written_as_it_is_read() -> None:
    proof = Proof.parse(GOOD)
    assert proof.format() == GOOD
    assert (proof.index, proof.extra, proof.note) == (7, LOG.entries[7], LOG.checkpoint())
    assert GOOD.startswith(f"{HEADER}\nextra ".encode())


def test_a_proof_without_extra_data_or_path_is_read_too() -> None:
    for content in (put(lines()[0], *lines()[2:]), put(*lines()[:3])):
        assert Proof.parse(content).format() == content


HEAD = lines()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD.partition(b"\n\n")[0],
        GOOD.partition(b"\n\n")[0] + b"\n\n",
        put(b"c2sp.org/tlog-proof@v2", *HEAD[1:]),
        put(*HEAD[1:]),
        put(HEAD[0], HEAD[2], HEAD[1], *HEAD[3:]),
        put(HEAD[0], HEAD[1], HEAD[1], *HEAD[2:]),
        put(HEAD[0], b"extra ", *HEAD[2:]),
        put(HEAD[0], b"extra eyJ", *HEAD[2:]),
        put(HEAD[0], HEAD[1], b"index 07", *HEAD[3:]),
        put(HEAD[0], HEAD[1], b"index -7", *HEAD[3:]),
        put(HEAD[0], HEAD[1], b"index 7 ", *HEAD[3:]),
        put(HEAD[0], HEAD[1], b"index", *HEAD[3:]),
        put(HEAD[0], HEAD[1], b"index 4611686018427387905", *HEAD[3:]),
        put(HEAD[0], HEAD[1], *HEAD[3:]),
        put(*HEAD[:3], HEAD[3][:-1], *HEAD[4:]),
        put(*HEAD[:3], HEAD[3][:-4], *HEAD[4:]),
        put(*HEAD[:3], HEAD[3] + b"\r", *HEAD[4:]),
        put(*HEAD[:3], b" " + HEAD[3], *HEAD[4:]),
        put(*HEAD[:3], *[HEAD[3]] * 64),
        put(*HEAD[:3], "é".encode(), *HEAD[4:]),
        GOOD.replace(b"\n", b"\r\n"),
    ],
)
def test_what_is_no_proof_is_refused(content: bytes) -> None:
    with pytest.raises(ProofRefused):
        Proof.parse(content)


def test_a_proof_shows_its_own_entry_in_its_own_tree_only() -> None:
    proof = Proof.parse(GOOD)
    size, root = len(LOG.entries), LOG.hashes()
    proof.check(LOG.entries[7], size, tree.root(root))
    for entry, at, over in [
        (LOG.entries[8], size, root),
        (LOG.entries[7], size, root[:-1]),
        (LOG.entries[7], 8, root[:8]),
    ]:
        with pytest.raises(ProofRefused):
            proof.check(entry, at, tree.root(over))
