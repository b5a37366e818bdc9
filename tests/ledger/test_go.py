"""The auditor's own route: golang.org/x/mod/sumdb/note and tlog over the same evidence, and never another answer."""

import base64
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.auditing import Auditor, Case, built, numbered
from tests.ledger.sample_log import SECOND_SIGNER, SIGNER, WITNESSES, InMemory, sample
from textkeep.ledger import tree
from textkeep.ledger.note import Checkpoint, Note, NoteRefused, Signature, Verifier, Verifies, opened, parse
from textkeep.ledger.tree import ProofRefused

LOG = sample()
LEAVES = [tree.leaf_hash(str(number).encode()) for number in range(70)]


@pytest.fixture(scope="module")
def auditor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    return built(request, tmp_path_factory.mktemp("auditor"))


def inclusion(leaf: bytes, index: int, size: int, root: bytes, path: list[bytes]) -> tuple[Case, bool]:
    try:
        tree.check_inclusion(leaf, index, size, path, root)
        accepted = True
    except ProofRefused:
        accepted = False
    return ("i", (leaf, numbered(index), numbered(size), root, *path)), accepted


def consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> tuple[Case, bool]:
    try:
        tree.check_consistency(old, new, old_root, new_root, path)
        accepted = True
    except ProofRefused:
        accepted = False
    return ("c", (numbered(old), numbered(new), old_root, new_root, *path)), accepted


def checkpoint(content: bytes, key: Verifier = SIGNER.verifier) -> tuple[Case, bool]:
    known: list[Verifies] = [key, WITNESSES[0].witness]
    try:
        note = parse(content)
        accepted = len(opened(note, known)) == 2 and Checkpoint.parse(note.text).origin == key.name
    except NoteRefused:
        accepted = False
    return ("n", (content, str(key).encode(), str(known[1]).encode())), accepted


def agree(auditor: Auditor, folder: Path, cases: list[tuple[Case, bool]]) -> int:
    """Python and Go say the same of every case; gives how many were accepted."""
    told = auditor.accepts([case for case, _ in cases], folder)
    differing = [case for (case, mine), its in zip(cases, told, strict=True) if mine is not its]
    assert not differing, (len(differing), differing[0])
    return sum(told)


def test_the_documented_command_verifies_a_report_and_refuses_a_changed_one(auditor: Auditor, tmp_path: Path) -> None:
    LOG.write_reports(tmp_path, WITNESSES[:2])
    name = next(iter(LOG.reports))
    report, proof = tmp_path / f"{name}.json", tmp_path / f"{name}.tlog-proof"
    command = [
        str(auditor.program),
        str(report),
        str(proof),
        str(SIGNER.verifier),
        *(str(each.witness) for each in WITNESSES[:2]),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "verified\n"), told.stderr
    report.write_bytes(report.read_bytes() + b"\n")
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert "not of this report" in told.stderr


def test_every_inclusion_and_consistency_up_to_forty_is_accepted_by_both(auditor: Auditor, tmp_path: Path) -> None:
    hashes, roots = InMemory(LEAVES), [tree.root(LEAVES[:size]) for size in range(71)]
    cases = [
        inclusion(LEAVES[index], index, size, roots[size], tree.inclusion_path(hashes, index, size))
        for size in range(1, 41)
        for index in range(size)
    ]
    cases += [
        consistency(old, new, roots[old], roots[new], tree.consistency_path(hashes, old, new))
        for new in range(1, 41)
        for old in range(1, new + 1)
    ]
    assert agree(auditor, tmp_path, cases) == len(cases)


def mutated_trees(number: int) -> Iterator[tuple[Case, bool]]:
    chance, hashes = random.Random(7), InMemory(LEAVES)
    roots = [tree.root(LEAVES[:size]) for size in range(71)]
    for _ in range(number):
        size = chance.randrange(1, 71)
        at = chance.randrange(size)
        near = [0, 1, -1, 2, size, 2**31, 2**62, -size]
        paths = [tree.inclusion_path(hashes, at, size), tree.consistency_path(hashes, at + 1, size)]
        for path in paths:
            way = chance.randrange(6)
            if way == 0 and path:
                path.pop(chance.randrange(len(path)))
            elif way == 1:
                path.insert(chance.randrange(len(path) + 1), chance.choice([*LEAVES, *roots]))
            elif way == 2 and path:
                path[chance.randrange(len(path))] = chance.choice(roots)
            elif way == 3 and path:
                path.reverse()
            elif way == 4 and path:
                path[0] = path[0][:31]
        index, later = max(0, at + chance.choice(near)), max(0, size + chance.choice(near))
        yield inclusion(LEAVES[at], index, later, chance.choice([roots[size], roots[at]]), paths[0])
        yield inclusion(LEAVES[at], at, later, roots[size], paths[0])
        yield consistency(index, size, roots[at], roots[size], paths[1])
        yield consistency(at + 1, later, roots[at + 1], roots[size], paths[1])


def test_of_proofs_with_other_hashes_sizes_and_lengths_both_say_the_same(auditor: Auditor, tmp_path: Path) -> None:
    cases = list(mutated_trees(5000))
    assert len(cases) == 20_000
    assert 0 < agree(auditor, tmp_path, cases) < len(cases) // 2


def mutated_notes() -> Iterator[bytes]:
    """Checkpoints that are almost right, signed as they are; and right ones with something done to their bytes."""
    root = base64.b64encode(b"\1" * 32).decode()
    sizes = ["7", "07", "+7", "-7", "0", "7 ", "", "\u0667", "1_0", "0x7"]
    sizes += ["4611686018427387904", "4611686018427387905", "9223372036854775807", "9223372036854775808"]
    roots = [root[:-1], root[:-4], f"{root} ", f" {root}", root[:-2] + "F="]
    rests = ["x\n", "x\n\n", "\n", "\u2014 x\n", "x\r\n", "x\0\n", "\x7f\n"]
    texts = [f"{SIGNER.name}\n{size}\n{root}\n" for size in sizes]
    texts += [f"{SIGNER.name}\n7\n{each}\n" for each in roots]
    texts += [f"{SIGNER.name}\n7\n{root}\n{more}" for more in rests]
    texts += [f"{SIGNER.name}x\n7\n{root}\n", f"\n7\n{root}\n", f"{SIGNER.name}\n7\n", "x\n", "\n", f"é\n7\n{root}\n"]
    for text in texts:
        yield Note(text, (SIGNER.sign(text), WITNESSES[0].cosign(text, 5))).format()
    text = texts[0]
    good = (SIGNER.sign(text), WITNESSES[0].cosign(text, 5))
    others = [SECOND_SIGNER.sign(text), WITNESSES[1].cosign(text, 5), WITNESSES[0].cosign(text, 6)]
    others += [Signature("é\u2003x", b"abcd", b"x"), Signature("x", b"abcd", b"xyz"), Signature("x", b"abcd", b"y")]
    others += [Signature(SIGNER.name, b"abcd", good[0].raw), Signature("y", good[0].key_id, good[0].raw)]
    others += [Signature(good[0].name, good[0].key_id, b"\0" * 64), Signature(good[1].name, good[1].key_id, b"\0" * 72)]
    for more in others:
        for signatures in ((*good, more), (more, *good), (good[0], more), (more, good[1]), (*good, more, more)):
            yield Note(text, signatures).format()
    whole = Note(text, good).format()
    for at in range(len(whole)):
        for byte in (b"\n", b"\r", b" ", b"=", b"\0", b"\xff", b"+", b"A", "\u00a0".encode(), "\u2014".encode()):
            yield whole[:at] + byte + whole[at:]
        yield whole[:at] + whole[at + 1 :]
        yield whole[:at]
        for bit in range(8):
            yield whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]


def test_of_checkpoints_with_anything_done_to_them_both_say_the_same(auditor: Auditor, tmp_path: Path) -> None:
    cases = [checkpoint(each) for each in mutated_notes()]
    assert 5 < agree(auditor, tmp_path, cases) < 60


def test_of_the_vectors_of_others_both_say_the_same(auditor: Auditor, tmp_path: Path, shared: Path) -> None:
    cases = []
    for vector in json.loads((shared / "data/tlog/merkle/proof_vectors.json").read_text()):
        path = [base64.b64decode(each) for each in vector["proof"] or []]
        if vector["kind"] == "inclusion":
            leaf, root = base64.b64decode(vector["leafHash"]), base64.b64decode(vector["root"])
            numbers = vector["leafIdx"], vector["treeSize"]
            if all(each < 2**63 for each in numbers):
                cases.append(inclusion(leaf, *numbers, root, path))
        else:
            roots = [base64.b64decode(vector[name]) for name in ("root1", "root2")]
            if all(len(each) == tree.HASH_BYTES for each in roots):  # one vector has a word in place of both roots
                cases.append(consistency(vector["size1"], vector["size2"], roots[0], roots[1], path))
    assert agree(auditor, tmp_path, cases) == 11
