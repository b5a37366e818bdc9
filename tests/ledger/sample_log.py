"""A small archive's evidence, made by hand over the real formats: entries, leaves, reports, checkpoints, a folder."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from textkeep.ledger import paths, tree
from textkeep.ledger.bundles import packed
from textkeep.ledger.cosignature import Cosigner
from textkeep.ledger.note import Checkpoint, Note, Signer, encode64
from textkeep.ledger.proof import proof_of

ORIGIN = "textkeep/00ff00ff00ff00ff"
FIRST = date(2025, 10, 1)
ORGS = ("aa" * 8, "bb" * 8)


def private(number: int) -> Ed25519PrivateKey:
    """A private key, the same one each time."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"key %d" % number).digest())


SIGNER = Signer(ORIGIN, private(0))
SECOND_SIGNER = Signer(ORIGIN, private(1))
WITNESSES = [Cosigner(f"witness.example/w{number}", private(10 + number)) for number in range(3)]


def moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def due(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=401)


class InMemory:
    """A reader of hashes over leaf hashes."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = leaves

    def read(self, level: int, index: int) -> bytes:
        part = self._leaves[index << level : (index + 1) << level]
        assert len(part) == 1 << level, "only full subtrees may be asked for"
        return tree.root(part)


@dataclass
class SampleLog:
    """Entries in their order, and what lies behind them."""

    signer: Signer = field(default_factory=lambda: SIGNER)
    entries: list[bytes] = field(default_factory=list)
    leaves: dict[str, dict[str, list[bytes]]] = field(default_factory=dict)
    reports: dict[str, bytes] = field(default_factory=dict)
    reported: dict[str, int] = field(default_factory=dict)
    """The index of the entry about each report."""
    last: str | None = None
    number: int = 0

    def append(self, kind: str, body: dict[str, Any], at: datetime, shelf: str | None = None) -> int:
        """Add an entry and give its index."""
        entry = {"v": 1, "kind": kind, "time": moment(at), **({"shelf": shelf} if shelf else {}), **body}
        self.entries.append(rfc8785.dumps(entry))
        return len(self.entries) - 1

    def slice(self, day: date, orgs: dict[str, tuple[int, int]], at: datetime | None = None, **more: Any) -> int:
        """Texts of a day: of each organisation so many texts and versions."""
        shelf = more.pop("shelf", day.isoformat())
        name = hashlib.sha256(b"slice %d" % len(self.entries)).hexdigest()[:16]
        texts, versions = (sum(each[part] for each in orgs.values()) for part in (0, 1))
        members = sorted(hashlib.sha256(f"{name} {at}".encode()).digest() for at in range(texts + versions))
        members = sorted(more.pop("members", members))
        self.leaves.setdefault(shelf, {})[name] = members
        body = {
            "batch": "b" + name,
            "slice": name,
            "accepted": texts,
            "versions": versions,
            "orgs": {org: list(each) for org, each in orgs.items()},
            "root": tree.root_of_set(members).hex(),
        }
        when = at or datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        return self.append(more.pop("kind", "slice"), {**body, **more}, when, shelf)

    def quarantine(self, day: date, reasons: dict[str, int]) -> int:
        """Records of a day that were set aside."""
        shelf, batch = day.isoformat(), f"q{len(self.entries)}"
        count = sum(reasons.values())
        members = sorted(hashlib.sha256(f"{batch} {at}".encode()).digest() for at in range(count))
        self.leaves.setdefault(shelf, {})[f"{batch}:{shelf}"] = members
        body = {"batch": batch, "reasons": reasons, "count": count, "root": tree.root_of_set(members).hex()}
        return self.append("quarantine", body, datetime(day.year, day.month, day.day, 13, tzinfo=UTC), shelf)

    def refuse(self, day: date, count: int) -> int:
        """Records that came too late."""
        body = {"batch": "late", "producer": "cc" * 8, "count": count, "reasons": {"expired": count}}
        return self.append("refusals", body, due(day) - timedelta(hours=1), day.isoformat())

    def purge(self, day: date, kept: dict[str, list[bytes]] | None = None, **other: Any) -> bytes:
        """The end of a day: its entries, its report, the entry about that. `other` replaces members of the report."""
        shelf, at = day.isoformat(), due(day) + timedelta(minutes=3)
        steps = {"intent": self.append("intent", {}, at, shelf)}
        steps["committed"] = self.append("committed", {}, at + timedelta(seconds=2), shelf)
        steps["shredded"] = self.append("key-destroyed", {"secret": f"shelf:{shelf}"}, at + timedelta(seconds=3), shelf)
        self.number += 1
        document = {**self._document(shelf, at, steps), **self._census(shelf, kept or {}), **other}
        return self.report(document, at + timedelta(seconds=9), shelf=shelf)

    def release(self, shelf: str, **other: Any) -> bytes:
        """The end of a generation of held texts: its entries, its report, the entry about that."""
        at = due(FIRST) + timedelta(days=9)
        released = self.agreed(at - timedelta(hours=25), **other.pop("decided", {}))
        steps = {"intent": self.append("intent", {}, at, shelf)}
        steps["committed"] = self.append("committed", {}, at, shelf)
        self.number += 1
        document = {**self._document(shelf, at, steps), **self._census(shelf, {}), "kind": "release"}
        document["responsible"] = {"releases": [released]}
        return self.report({**document, **other}, at + timedelta(seconds=9), shelf=shelf)

    def agreed(self, at: datetime, **other: Any) -> dict[str, Any]:
        """A release, by two persons and 24 hours before it takes effect: its entries, and what a report says of it."""
        asked, approved, hold = "a1" * 8, other.get("approved_by", "b2" * 8), "h-0000000000000001"
        said = {"what": "release", "id": "a-0000000000000001", "subject": other.get("subject", hold)}
        self.append("approval", {"did": "asked", "by": asked, **said}, at)
        self.append("approval", {"did": "approved", "by": other.get("by", approved), **said}, at)
        persons = {"asked_by": asked, "approved_by": approved}
        released = {"hold": hold, "approval": said["id"], **persons}
        ends = moment(at + other.get("wait", timedelta(hours=24)))
        entry = self.append("release", {**released, "ends": other.get("ends", ends)}, at)
        return {**released, "entry": entry, "approved_at": moment(at), "effective_at": ends}

    def report(self, document: dict[str, Any], at: datetime, shelf: str | None = None) -> bytes:
        """Write a report and the entry about it."""
        content = rfc8785.dumps(document)
        missed = document["kind"] == "missed-run"
        name = f"missed-run-{document['day']}" if missed else document["shelf"]
        said = {"name": name, "report": hashlib.sha256(content).hexdigest(), "previous": document["previous"]}
        said["verdict"] = document["verdict"]
        said |= {"day": document["day"]} if missed else {"attempt": document["attempt"]}
        self.reported[name] = self.append("missed-run" if missed else "purge", said, at, shelf)
        self.reports[name] = content
        self.last = said["report"]
        return content

    def missed(self, day: date) -> bytes:
        """The report of a day without a run."""
        at = datetime(day.year, day.month, day.day, 1, tzinfo=UTC) + timedelta(days=1)
        document: dict[str, Any] = {
            "format": "textkeep-purge-report-v1",
            "kind": "missed-run",
            "day": day.isoformat(),
            "verdict": "fail",
            "reason": "no purge run was made on this day",
            "waiting": [],
            "reported_at": moment(at),
            "previous": self.last,
        }
        return self.report(document, at)

    def _document(self, shelf: str, at: datetime, steps: dict[str, int]) -> dict[str, Any]:
        order = ("intent", "kept", "witnessed", "committed", "shredded", "dropped", "verified", "reported")
        return {
            "format": "textkeep-purge-report-v1",
            "kind": "day",
            "shelf": shelf,
            "number": self.number,
            "attempt": 1,
            "verdict": "pass",
            "opened_at": moment(at),
            "committed_at": moment(at + timedelta(seconds=2)),
            "closed_at": moment(at + timedelta(seconds=5)),
            "erased_at": "unknown",
            "reported_at": moment(at + timedelta(seconds=9)),
            "cutoff": {"due_at": moment(at) if shelf.startswith("kept") else moment(due(date.fromisoformat(shelf)))},
            "steps": [{"step": each, "verdict": "pass", "reason": "", "entry": steps.get(each)} for each in order],
            "readback": [{"name": "sums", "verdict": "pass", "reason": ""}],
            "previous": self.last,
        }

    def _census(self, shelf: str, kept: dict[str, list[bytes]]) -> dict[str, Any]:
        """`kept`: the leaves that holds keep, by slice."""
        bodies = {index: json.loads(entry) for index, entry in enumerate(self.entries)}
        mine = {index: body for index, body in bodies.items() if body.get("shelf") == shelf}
        taken = {index: body for index, body in mine.items() if "slice" in body}
        aside = {index: body for index, body in mine.items() if body["kind"] == "quarantine" or "papers" in body}
        late = {index: body for index, body in mine.items() if body["kind"] == "refusals"}
        back = {index: body for index, body in mine.items() if body["kind"] == "returned"}
        set_aside = sum(body.get("count", body.get("papers")) for body in aside.values())
        returned = sum(body["count"] for body in back.values())
        texts, versions = (sum(body[part] for body in taken.values()) for part in ("accepted", "versions"))
        leaves = {body["slice"]: self.leaves[shelf][body["slice"]] for body in taken.values()}
        left = {name: [each for each in members if each not in kept.get(name, ())] for name, members in leaves.items()}
        counted = sum(map(len, kept.values()))
        away = [body for body in bodies.values() if body.get("from") == shelf and "papers" in body]
        records = sum(body["papers"] - body["texts"] for body in away)
        root = over(members for members in leaves.values())
        return {
            "totals": {
                "taken": texts + versions,
                "versions": versions,
                "kept": counted,
                "destroyed": texts + versions - counted,
                "lost": 0,
                "found": texts + versions,
                "strays": 0,
            },
            "organisations": [
                {
                    "org": org,
                    "taken_texts": sum(body["orgs"].get(org, (0, 0))[0] for body in taken.values()),
                    "taken_versions": sum(body["orgs"].get(org, (0, 0))[1] for body in taken.values()),
                    "found": sum(sum(body["orgs"].get(org, (0, 0))) for body in taken.values()),
                }
                for org in sorted({org for body in taken.values() for org in body["orgs"]})
            ],
            "slices": {"counted": len(taken), "entries": spans(taken), "differing": []},
            "roots": {
                "taken": root,
                "found": root,
                "kept": over(kept[name] for name in leaves if kept.get(name)),
                "destroyed": over(each for each in left.values() if each),
            },
            "quarantine": {
                "taken": set_aside,
                "waiting": 0,
                "returned": returned,
                "kept": records,
                "destroyed": set_aside - returned - records,
                "lost": 0,
                "returned_entries": spans(back),
                "reasons": added(body.get("reasons", {}) for body in aside.values()),
                "entries": spans(aside),
            },
            "refusals": {
                "count": sum(body["count"] for body in late.values()),
                "reasons": added(body["reasons"] for body in late.values()),
                "producers": added({body["producer"]: body["count"]} for body in late.values()),
                "entries": spans(late),
            },
        }

    def checkpoint(self, size: int | None = None, cosigners: Sequence[Cosigner] = (), at: int = 1_700_000_000) -> bytes:
        """The signed checkpoint of the first `size` entries, all where that is None."""
        leaves = self.hashes(size)
        text = Checkpoint(self.signer.name, len(leaves), tree.root(leaves)).format()
        return Note(text, (self.signer.sign(text), *(each.cosign(text, at) for each in cosigners))).format()

    def hashes(self, size: int | None = None) -> list[bytes]:
        """The leaf hashes of the first `size` entries."""
        return [tree.leaf_hash(entry) for entry in self.entries[:size]]

    def proof(self, index: int, size: int | None = None, cosigners: Sequence[Cosigner] = ()) -> bytes:
        """The proof of an entry in the log of `size` entries."""
        leaves = self.hashes(size)
        path = tree.inclusion_path(InMemory(leaves), index, len(leaves))
        return proof_of(self.entries[index], index, path, self.checkpoint(size, cosigners)).format()

    def report_proof(self, name: str, cosigners: Sequence[Cosigner] = ()) -> bytes:
        """The proof of the entry about a report, in the log as it is now."""
        return self.proof(self.reported[name], cosigners=cosigners)

    def publish(self, folder: Path) -> Path:
        """Write the log as a static folder."""
        files = {paths.CHECKPOINT: self.checkpoint()}
        size, level, hashes = len(self.entries), 0, self.hashes()
        while hashes:
            for number in range(-(-len(hashes) // paths.TILE_WIDTH)):
                part = hashes[number * paths.TILE_WIDTH : (number + 1) * paths.TILE_WIDTH]
                files[paths.tile_path(level, number, len(part))] = b"".join(part)
            full = len(hashes) // paths.TILE_WIDTH
            hashes = [tree.root(hashes[at * 256 : (at + 1) * 256]) for at in range(full)]
            level += 1
        for number in range(-(-size // paths.TILE_WIDTH)):
            bundle = self.entries[number * paths.TILE_WIDTH : (number + 1) * paths.TILE_WIDTH]
            files[paths.bundle_path(number, len(bundle))] = packed(bundle)
        for shelf, leaves in self.leaves.items():
            lines = [json.dumps({"id": name, "hashes": encode64(b"".join(each))}) for name, each in leaves.items()]
            files[paths.leaves_path(shelf)] = "".join(f"{line}\n" for line in lines).encode()
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder

    def write_reports(self, folder: Path, cosigners: Sequence[Cosigner] = ()) -> Path:
        """Write every report and its proof, as the archive's folder of reports has them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.reports.items():
            (folder / f"{name}.json").write_bytes(content)
            (folder / f"{name}.tlog-proof").write_bytes(self.report_proof(name, cosigners))
        return folder


def sample(days: int = 4) -> SampleLog:
    """Some days and their end: two organisations, versions, quarantine, refusals, an empty day, a missed run."""
    log = SampleLog()
    for number in range(days):
        day = FIRST + timedelta(days=number)
        if number % 4 == 3:
            continue  # a day on which nobody sent anything
        log.slice(day, {ORGS[0]: (3 + number, 1), ORGS[1]: (2, 0)})
        log.append("token", {"id": f"{number}"}, due(day))
        log.slice(day, {ORGS[1]: (5, number)})
        log.quarantine(day, {"mms": 2, "group": 1})
        log.refuse(day, 2)
    for number in range(days):
        log.purge(FIRST + timedelta(days=number))
        if number == 1:
            log.missed(due(FIRST).date() + timedelta(days=number))
    return log


def over(sets: Any) -> str:
    """The root over the roots of sets."""
    return tree.root([tree.leaf_hash(tree.root_of_set(list(each))) for each in sets]).hex()


def added(counts: Any) -> dict[str, int]:
    """Counts by name, added up."""
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def spans(numbers: Any) -> list[list[int]]:
    """First and last of each run of numbers without a gap."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
