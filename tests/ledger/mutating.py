"""Evidence that is almost right: bits flipped, lines moved, parts of one proof in another, reports touched up."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import rfc8785

from tests.ledger.sample_log import ORGS, SECOND_SIGNER, SIGNER, WITNESSES, SampleLog
from textkeep.ledger.note import Checkpoint, Note, parse
from textkeep.ledger.proof import Proof

Evidence = tuple[bytes, bytes]
"""A report and its proof."""

_AT = datetime(2026, 11, 6, tzinfo=UTC)


class Mutations:
    """Report and proof, changed in ways that a forger or a broken disk would; seeded, so that a failure comes again."""

    def __init__(self, log: SampleLog, seed: int) -> None:
        self._chance = random.Random(seed)
        self._names = list(log.reports)
        self._small = min(self._names, key=lambda name: len(log.reports[name]))
        self._true = {
            name: (log.reports[name], log.proof(log.reported[name], size, WITNESSES[:1]))
            for name in self._names
            for size in (log.reported[name] + 1, None)
        }
        self._others = [
            log.proof(index, size, WITNESSES[:1])
            for index in range(0, len(log.entries), 3)
            for size in range(index + 1, len(log.entries) + 1, 5)
        ]

    def true(self) -> list[Evidence]:
        """What must be accepted."""
        return list(self._true.values())

    def flips(self, number: int) -> Iterator[Evidence]:
        """One bit flipped: every bit of one proof first, then bits of reports and proofs by chance."""
        report, proof = self._true[self._small]
        for bit in range(min(number, len(proof) * 8)):
            yield report, _flipped(proof, bit)
        for _ in range(number - len(proof) * 8):
            report, proof = self._any()
            if self._chance.random() < 0.7:
                yield _flipped(report, self._chance.randrange(len(report) * 8)), proof
            else:
                yield report, _flipped(proof, self._chance.randrange(len(proof) * 8))

    def forgeries(self, number: int) -> Iterator[Evidence]:
        """Something changed, and not only what makes no difference (`_same`)."""
        ways: list[Callable[[bytes, bytes], Evidence]] = [
            lambda report, proof: (report, self._bytes(proof)),
            lambda report, proof: (self._bytes(report), proof),
            lambda report, proof: (report, self._lines(proof)),
            lambda report, proof: (report, self._spliced(proof)),
            lambda report, proof: (report, self._renumbered(proof)),
            lambda report, proof: (self._touched_up(report), proof),
            self._forged_whole,
        ]
        made = 0
        while made < number:
            report, proof = self._any()
            changed = self._chance.choice(ways)(report, proof)
            if changed != (report, proof) and changed not in self._true.values() and not _same(changed, report, proof):
                made += 1
                yield changed

    def _any(self) -> Evidence:
        """The smallest report most of the time: it is read soonest."""
        return self._true[self._small if self._chance.random() < 0.8 else self._chance.choice(self._names)]

    def _bytes(self, content: bytes) -> bytes:
        at, end = sorted(self._chance.randrange(len(content) + 1) for _ in range(2))
        way = self._chance.randrange(6)
        if way == 0:
            return content[:at] + content[end:]
        if way == 1:
            return content[:at] + self._chance.randbytes(self._chance.randrange(1, 5)) + content[at:]
        if way == 2:
            return content[:end] + content[at:end] + content[end:]
        if way == 3:
            return content[:at]
        if way == 4:
            return content[:at] + self._chance.randbytes(end - at) + content[end:]
        return content[:at] + self._chance.choice([b" ", b"\n", b"\r\n", b"\0", b"=", b"0"]) + content[at:]

    def _lines(self, content: bytes) -> bytes:
        lines = content.split(b"\n")
        at, other = (self._chance.randrange(len(lines)) for _ in range(2))
        way = self._chance.randrange(5)
        if way == 0:
            del lines[at]
        elif way == 1:
            lines.insert(other, lines[at])
        elif way == 2:
            lines[at], lines[other] = lines[other], lines[at]
        elif way == 3:
            lines[at] = lines[other]
        else:
            lines[at] = lines[at].swapcase()
        return b"\n".join(lines)

    def _spliced(self, content: bytes) -> bytes:
        """A part of another true proof in this one."""
        mine, other = Proof.parse(content), Proof.parse(self._chance.choice(self._others))
        notes = parse(mine.note), parse(other.note)
        way = self._chance.randrange(6)
        if way == 0:
            return Proof(other.index, mine.path, mine.note, mine.extra).format()
        if way == 1:
            return Proof(mine.index, other.path, mine.note, mine.extra).format()
        if way == 2:
            return Proof(mine.index, mine.path, other.note, mine.extra).format()
        if way == 3:
            return Proof(mine.index, mine.path, mine.note, other.extra).format()
        if way == 4:
            return Proof(mine.index, mine.path, Note(notes[0].text, notes[1].signatures).format(), mine.extra).format()
        signed = (notes[0].signatures[0], notes[1].signatures[1])
        return Proof(mine.index, mine.path, Note(notes[0].text, signed).format(), mine.extra).format()

    def _renumbered(self, content: bytes) -> bytes:
        """Another index, size or path; the signature is the true one, or one of a key that nobody knows."""
        proof = Proof.parse(content)
        path = list(proof.path)
        note = parse(proof.note)
        checkpoint = Checkpoint.parse(note.text)
        way = self._chance.randrange(5)
        index, size, root = proof.index, checkpoint.size, checkpoint.root
        if way == 0:
            index = max(0, index + self._chance.choice([-2, -1, 1, 2, size, 2**32]))
        elif way == 1:
            size = max(1, size + self._chance.choice([-1, 1, size, 2**62]))
        elif way == 2 and path:
            path.pop(self._chance.randrange(len(path)))
        elif way == 3:
            path.insert(self._chance.randrange(len(path) + 1), self._chance.randbytes(32))
        else:
            root = self._chance.randbytes(32)
        text = Checkpoint(checkpoint.origin, size, root).format()
        signatures = note.signatures
        if self._chance.random() < 0.5:
            signatures = (SECOND_SIGNER.sign(text), WITNESSES[1].cosign(text, 1_700_000_000))
        return Proof(index, tuple(path), Note(text, signatures).format(), proof.extra).format()

    def _touched_up(self, content: bytes) -> bytes:
        """Another number, name, time or verdict, in canonical form again; or the same, in another form."""
        document = json.loads(content)
        way = self._chance.randrange(3)
        if way == 0:
            return json.dumps(document, indent=self._chance.choice([None, 1]), sort_keys=True).encode()
        places = list(_places(document))
        holder, key = self._chance.choice(places)
        if way == 1 and isinstance(holder, dict):
            del holder[key]
        elif isinstance(holder[key], int):
            holder[key] += self._chance.choice([-1, 1, 10])
        else:
            holder[key] = self._chance.choice(["unknown", "pass", None, [], "", 0, ORGS[0]])
        return rfc8785.dumps(document)

    def _forged_whole(self, report: bytes, proof: bytes) -> Evidence:
        """Another report with an entry, a tree and a checkpoint of its own, signed by who does not hold the key."""
        forged = SampleLog(self._chance.choice([SECOND_SIGNER, SIGNER]))
        forged.append("token", {"id": str(self._chance.random())}, _AT)
        document = json.loads(report)
        document["responsible"] = {"asked_by": str(self._chance.random())}
        forged.report(document, _AT, document.get("shelf"))
        name = next(iter(forged.reports))
        made = Proof.parse(forged.report_proof(name, WITNESSES[1:2]))
        if forged.signer is SIGNER:  # a true signature, of another checkpoint
            text = parse(made.note).text
            made = Proof(
                made.index, made.path, Note(text, parse(Proof.parse(proof).note).signatures).format(), made.extra
            )
        return forged.reports[name], made.format()


def _flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def _same(changed: Evidence, report: bytes, proof: bytes) -> bool:
    """Whether the two say the same: but for lines signed by keys that nobody knows, and the order of signatures.

    A verifier must pass over what unknown keys have signed (C2SP signed-note), so such a line forges nothing.
    """
    try:
        first, second = Proof.parse(proof), Proof.parse(changed[1])
        return (
            changed[0] == report
            and (first.index, first.path, first.extra) == (second.index, second.path, second.extra)
            and _signed(first.note) == _signed(second.note)
        )
    except ValueError:
        return False


def _signed(note: bytes) -> tuple[str, list[str]]:
    known = {(SIGNER.name, SIGNER.verifier.key_id), (WITNESSES[0].name, WITNESSES[0].witness.key_id)}
    parsed = parse(note)
    return parsed.text, sorted(each.line for each in parsed.signatures if (each.name, each.key_id) in known)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    keys = document.keys() if isinstance(document, dict) else range(len(document))
    for key in keys:
        if isinstance(document[key], dict | list) and document[key]:
            yield from _places(document[key])
        else:
            yield document, key
