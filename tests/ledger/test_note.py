"""Notes, checkpoints and cosignatures: as C2SP has them, strictly."""

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.ledger.sample_log import ORIGIN, SECOND_SIGNER, SIGNER, WITNESSES, sample
from textkeep.ledger import note as notes
from textkeep.ledger import tree
from textkeep.ledger.bundles import unpacked
from textkeep.ledger.cosignature import Cosigner, Witness, times
from textkeep.ledger.key_change import KeyChange, passed_on, signed_change
from textkeep.ledger.note import Checkpoint, Note, NoteRefused, Signature, Signer, Verifier, Verifies, opened, parse
from textkeep.ledger.published import Folder, Published, checkpoint_of

TEXT = "a log\n7\n" + notes.encode64(b"\1" * 32) + "\n"

SPECIFIED_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPECIFIED = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
"""The example of C2SP signed-note v1.0.0."""

OTHERS_KEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
"""The key of the log in the shared data, as its makers publish it."""


def signed(*signatures: Signature, text: str = TEXT) -> bytes:
    return Note(text, signatures).format()


def test_the_example_of_the_specification_opens() -> None:
    key = Verifier.parse(SPECIFIED_KEY)
    note = parse(SPECIFIED.encode())
    assert opened(note, [key]) == [key]
    assert note.text == "This is an example message.\n"
    assert note.format() == SPECIFIED.encode()
    assert str(key) == SPECIFIED_KEY


@pytest.mark.parametrize("size", range(1, 16))
def test_the_log_of_others_opens_and_its_checkpoints_follow_each_other(shared: Path, size: int) -> None:
    folder = Folder(shared / "data/tlog/tessera/log")
    key = Verifier.parse(OTHERS_KEY)
    last = Checkpoint.parse(parse(checkpoint_of(folder)).text)
    content = folder.get(f"checkpoint.{size}")
    assert content is not None
    note = parse(content)
    checkpoint = Checkpoint.parse(note.text)
    assert opened(note, [key]) == [key]
    assert (checkpoint.origin, checkpoint.size) == ("example.com/log/testdata", size)
    published = Published(folder, size)
    assert tree.root_through(published, size) == checkpoint.root
    assert tree.root([tree.leaf_hash(entry) for _, entry in published.entries()]) == checkpoint.root
    path = tree.consistency_path(Published(folder, last.size), size, last.size)
    tree.check_consistency(size, last.size, checkpoint.root, last.root, path)
    whole = folder.get(f"tile/entries/000.p/{size}")
    assert whole is not None
    for index, entry in enumerate(unpacked(whole)):
        proof = tree.inclusion_path(published, index, size)
        tree.check_inclusion(tree.leaf_hash(entry), index, size, proof, checkpoint.root)


def test_an_empty_log_of_others_opens(shared: Path) -> None:
    content = (shared / "data/tlog/tessera/log/checkpoint.0").read_bytes()
    assert opened(parse(content), [Verifier.parse(OTHERS_KEY)])
    assert Checkpoint.parse(parse(content).text).root == tree.EMPTY


def test_a_note_says_who_of_the_known_keys_signed_it_and_passes_over_the_others() -> None:
    unknown = Signer.generate("somebody.example")
    note = parse(signed(unknown.sign(TEXT), SIGNER.sign(TEXT), WITNESSES[0].cosign(TEXT, 1)))
    known: list[Verifies] = [WITNESSES[0].witness, WITNESSES[1].witness, SIGNER.verifier]
    assert opened(note, known) == [WITNESSES[0].witness, SIGNER.verifier]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (signed(), "signature"),
        (signed(SECOND_SIGNER.sign(TEXT)), "no known key"),
        (signed(Signature(ORIGIN, SIGNER.verifier.key_id, SECOND_SIGNER.sign(TEXT).raw)), "is false"),
        (signed(SIGNER.sign(TEXT), Signature(ORIGIN, SIGNER.verifier.key_id, b"\0" * 64)), "twice"),
        (signed(SIGNER.sign(TEXT), SIGNER.sign(TEXT)), "twice"),
        (signed(SIGNER.sign(TEXT + "x\n")), "is false"),
        (signed(SIGNER.sign(TEXT)).replace(b"\n\n", b"\n"), "a text, an empty line"),
        (signed(SIGNER.sign(TEXT))[:-1], "end in a newline"),
        (signed(SIGNER.sign(TEXT)) + b"\n", "signature"),
        (signed(SIGNER.sign(TEXT)).replace(b"\xe2\x80\x94", b"--"), "a dash"),
        (signed(SIGNER.sign(TEXT)).replace(b"=\n", b"\n"), "base64"),
        (signed(SIGNER.sign(TEXT)).replace(b"7\n", b"7\r\n"), "control"),
        (b"\xff" + signed(SIGNER.sign(TEXT)), "UTF-8"),
        (b"\n\n" + signed(SIGNER.sign(TEXT)).partition(b"\n\n")[2], "a text"),
        (signed(*[Signature(f"n{each}", b"abcd", b"x") for each in range(101)]), "at most 100"),
    ],
)
def test_what_is_no_note_of_a_known_key_is_refused_with_its_reason(content: bytes, why: str) -> None:
    with pytest.raises(NoteRefused, match=why):
        opened(parse(content), [SIGNER.verifier])


def test_a_note_without_a_key_to_check_it_by_is_refused() -> None:
    with pytest.raises(NoteRefused, match="no key was given"):
        opened(parse(signed(SIGNER.sign(TEXT))), [])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "\u3000"])
def test_a_key_that_could_not_be_written_in_a_note_is_refused(name: str) -> None:
    with pytest.raises(NoteRefused):
        Signer.generate(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        SPECIFIED_KEY[:-1],
        SPECIFIED_KEY.replace("530d903a", "530d903b"),
        SPECIFIED_KEY.replace("530d903a", "530D903A"),
        SPECIFIED_KEY.replace("foo", "bar"),
        str(WITNESSES[0].witness),
        SIGNER.secret(),
    ],
)
def test_a_key_with_a_part_changed_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        Verifier.parse(text)


def test_keys_are_written_and_read_back_and_shown_by_nothing() -> None:
    for made in (SIGNER, WITNESSES[0]):
        again = type(made).parse(made.secret())
        assert again.secret() == made.secret()
        secret = made.secret().rpartition("+")[2]
        assert secret not in repr(made)
        with pytest.raises(NoteRefused) as refused:
            type(made).parse(made.secret().replace("PRIVATE+KEY+", "PRIVATE+KEY+x"))
        assert secret not in str(refused.value)
    assert Witness.parse(str(WITNESSES[0].witness)) == WITNESSES[0].witness
    with pytest.raises(NoteRefused):
        Cosigner.parse(SIGNER.secret())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n7\n",
        f"a\n7\n{notes.encode64(b'x' * 31)}\n",
        f"a\n07\n{notes.encode64(b'x' * 32)}\n",
        f"a\n+7\n{notes.encode64(b'x' * 32)}\n",
        f"a\n\u0667\n{notes.encode64(b'x' * 32)}\n",
        f"a\n{2**62 + 1}\n{notes.encode64(b'x' * 32)}\n",
        f"a\n-1\n{notes.encode64(b'x' * 32)}\n",
        f"a\n0\n{notes.encode64(b'x' * 32)}\n",
        f"\n7\n{notes.encode64(b'x' * 32)}\n",
        f"a\n7\n{notes.encode64(b'x' * 32)}\n\nmore\n",
        f"a\n7\n{notes.encode64(b'x' * 32)}",
        f"a\n7\n{notes.encode64(b'x' * 32)} \n",
        f"a\n7\n {notes.encode64(b'x' * 32)}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        Checkpoint.parse(text)


def test_a_checkpoint_is_written_as_it_is_read() -> None:
    for text in (TEXT, TEXT + "an extension\nand another\n", f"a\n0\n{notes.encode64(tree.EMPTY)}\n"):
        assert Checkpoint.parse(text).format() == text


def test_a_cosignature_is_of_one_text_one_time_and_one_witness() -> None:
    line = WITNESSES[0].cosign(TEXT, 1_700_000_000)
    assert WITNESSES[0].witness.time_of(TEXT, line.raw) == 1_700_000_000
    later = (1_700_000_001).to_bytes(8, "big") + line.raw[8:]
    for text, raw in [(TEXT + "x", line.raw), (TEXT, later), (TEXT, line.raw[:-1]), (TEXT, b"\0" * 8 + line.raw[8:])]:
        assert WITNESSES[0].witness.time_of(text, raw) is None
    assert WITNESSES[1].witness.time_of(TEXT, line.raw) is None
    assert not SIGNER.verifier.verify(TEXT, line.raw)
    note = parse(signed(SIGNER.sign(TEXT), line))
    assert times(note, WITNESSES[0].witness) == [1_700_000_000]
    assert times(note, WITNESSES[1].witness) == []
    for never in (0, -1, 2**63):
        with pytest.raises(NoteRefused):
            WITNESSES[0].cosign(TEXT, never)


def test_one_key_may_sign_as_a_log_and_as_a_witness_and_neither_passes_for_the_other() -> None:
    cosigner = Cosigner(SIGNER.name, SIGNER._private)
    assert cosigner.witness.key_id != SIGNER.verifier.key_id
    with pytest.raises(NoteRefused, match="no known key"):
        opened(parse(signed(SIGNER.sign(TEXT))), [cosigner.witness])


def test_a_change_of_key_counts_when_both_keys_signed_it() -> None:
    change = KeyChange.of({"note": signed_change(ORIGIN, SIGNER, SECOND_SIGNER)})
    assert (change.old, change.new) == (SIGNER.verifier, SECOND_SIGNER.verifier)
    assert passed_on([SIGNER.verifier], [change], ORIGIN) == [SIGNER.verifier, SECOND_SIGNER.verifier]
    assert passed_on([SIGNER.verifier], [change], "another/log") == [SIGNER.verifier]
    assert passed_on([SECOND_SIGNER.verifier], [change], ORIGIN) == [SECOND_SIGNER.verifier]


def test_a_change_of_key_that_one_of_them_did_not_sign_is_refused() -> None:
    note = parse(signed_change(ORIGIN, SIGNER, SECOND_SIGNER).encode())
    third = Signer.generate(ORIGIN)
    by_new_alone = Note(note.text, (SECOND_SIGNER.sign(note.text),))
    by_a_third = Note(note.text, (third.sign(note.text), SECOND_SIGNER.sign(note.text)))
    for made in (by_new_alone, by_a_third, Note(note.text + "x\n", note.signatures)):
        with pytest.raises(NoteRefused):
            KeyChange.of({"note": made.format().decode()})
    for body in ({}, {"note": 7}, {"note": "\ud800"}, {"note": signed_change(ORIGIN, SIGNER, SIGNER)}):
        with pytest.raises(NoteRefused):
            KeyChange.of(body)


def test_the_sample_log_is_as_large_as_it_says() -> None:
    log = sample()
    checkpoint = Checkpoint.parse(parse(log.checkpoint(5)).text)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (ORIGIN, 5, tree.root(log.hashes(5)))


def test_signatures_are_taken_and_refused_as_wycheproof_says(shared: Path) -> None:
    told = json.loads((shared / "data/wycheproof/ed25519_test.json").read_text())
    tried = 0
    for group in told["testGroups"]:
        public = notes.public_key(bytes.fromhex(group["publicKey"]["pk"]))
        for test in group["tests"]:
            valid = notes.verifies(public, bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
            assert valid is (test["result"] == "valid"), test["tcId"]
            tried += 1
    assert tried == told["numberOfTests"]


def test_the_library_underneath_refuses_what_it_should() -> None:
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(SIGNER.verifier.key).verify(b"", b"")
