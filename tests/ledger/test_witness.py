"""The witness: it follows a log that only grows, cosigns that, and refuses and remembers everything else."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.ledger.sample_log import (
    FIRST,
    ORGS,
    ORIGIN,
    SECOND_SIGNER,
    SIGNER,
    WITNESSES,
    SampleLog,
    due,
    private,
    sample,
)
from textkeep.ledger.key_change import signed_change, signed_loss
from textkeep.ledger.note import NoteRefused, Signer, parse
from textkeep.ledger.published import Folder, SourceFailed
from textkeep.ledger.witness import CLOSING, SILENCE, Seen, Watch
from textkeep.ledger.witness_memory import Memory, MemoryFile, MemoryRefused

SOON = due(FIRST) + timedelta(days=3, hours=1)
EARLY = due(FIRST)
"""No day must be gone by then."""

COSIGNER = WITNESSES[0]


@dataclass
class Auditor:
    """A witness with a folder to look at and a file to remember in."""

    folder: Path
    watch: Watch = field(init=False)
    file: MemoryFile = field(init=False)

    def __post_init__(self) -> None:
        self.file = MemoryFile(self.folder / "state")
        self.watch = Watch(Folder(self.folder / "log"), self.file, COSIGNER)

    def look(self, log: SampleLog, now: datetime = SOON) -> Seen:
        """Publish the log as it is and look at it."""
        log.publish(self.folder / "log")
        return self.again(now)

    def again(self, now: datetime = SOON) -> Seen:
        return self.watch.look(now, SIGNER.verifier)


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


def kinds(seen: Seen) -> list[str]:
    return [each.kind for each in seen.findings]


def test_a_log_that_grows_is_cosigned_each_time(auditor: Auditor) -> None:
    log = sample()
    whole, log.entries = log.entries, []
    for size in (1, 2, 3, 9, 9, 32):
        log.entries = whole[:size]
        seen = auditor.look(log, EARLY)
        assert (seen.size, kinds(seen)) == (size, [])
        assert seen.cosignature is not None
        text = parse(log.checkpoint()).text
        assert COSIGNER.witness.time_of(text, seen.cosignature.raw) == int(EARLY.timestamp())
        memory = auditor.file.load()
        assert memory is not None
        assert memory.note.encode() == log.checkpoint()


def test_a_log_of_several_tiles_is_followed(auditor: Auditor) -> None:
    log = SampleLog()
    for target in (255, 256, 257, 700):
        while len(log.entries) < target:
            log.append("token", {"id": str(len(log.entries))}, due(FIRST))
        seen = auditor.look(log)
        assert (seen.size, kinds(seen), seen.cosignature is None) == (target, [], False)


def test_the_checkpoint_is_remembered_before_it_is_cosigned(auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = []
    cosign = type(COSIGNER).cosign

    def looking(self: object, text: str, timestamp: int) -> object:
        memory = auditor.file.load()
        remembered.append(memory is not None and parse(memory.note.encode()).text == text)
        return cosign(COSIGNER, text, timestamp)

    monkeypatch.setattr(type(COSIGNER), "cosign", looking)
    auditor.look(sample())
    assert remembered == [True]


def test_a_log_that_was_written_anew_is_refused_and_both_checkpoints_are_kept(auditor: Auditor) -> None:
    true, forked = sample(), sample()
    del true.entries[20:]
    auditor.look(true, EARLY)
    before = auditor.file.path.read_bytes()
    forked.entries[5] = forked.entries[6]
    seen = auditor.look(forked, EARLY)
    assert kinds(seen) == ["forked", "earlier-evidence"]
    assert seen.cosignature is None
    assert auditor.file.path.read_bytes() == before
    kept = {(auditor.file.evidence / name).read_bytes() for name in auditor.file.kept()}
    assert kept == {true.checkpoint(), forked.checkpoint()}


def test_a_fork_of_the_same_size_is_refused(auditor: Auditor) -> None:
    true, forked = sample(), sample()
    forked.entries[-1] = forked.entries[0]
    auditor.look(true)
    assert kinds(auditor.look(forked)) == ["forked", "earlier-evidence"]


def test_a_fork_is_not_followed_by_asking_again_and_not_forgotten_when_the_true_log_comes_back(
    auditor: Auditor,
) -> None:
    true, forked = sample(), sample()
    del true.entries[20:]
    forked.entries[5] = forked.entries[6]
    auditor.look(true)
    for _ in range(3):
        assert auditor.look(forked).cosignature is None
        forked.append("token", {"id": "more"}, due(FIRST))
    whole = sample()
    seen = auditor.look(whole)
    assert seen.cosignature is not None
    assert kinds(seen) == ["earlier-evidence"]


def test_a_log_that_was_put_back_is_refused(auditor: Auditor) -> None:
    log = sample()
    auditor.look(log)
    del log.entries[20:]
    seen = auditor.look(log)
    assert kinds(seen) == ["rolled-back", "earlier-evidence"]
    assert seen.cosignature is None


def test_a_checkpoint_of_another_key_is_refused(auditor: Auditor) -> None:
    log = sample()
    auditor.look(log)
    log.signer = SECOND_SIGNER
    assert kinds(auditor.look(log)) == ["unsigned"]
    log.signer = Signer("textkeep/another", SIGNER._private)
    assert kinds(auditor.look(log)) == ["unsigned"]


def test_a_change_of_key_is_followed_when_both_keys_signed_it(auditor: Auditor) -> None:
    log = SampleLog()
    log.append("token", {"id": "1"}, due(FIRST))
    auditor.look(log)
    log.append("key-change", {"note": signed_change(ORIGIN, SIGNER, SECOND_SIGNER)}, due(FIRST))
    log.signer = SECOND_SIGNER
    assert auditor.look(log).cosignature is not None
    log.append("token", {"id": "2"}, due(FIRST))
    assert auditor.look(log).cosignature is not None
    log.signer = SIGNER
    log.append("token", {"id": "3"}, due(FIRST))
    assert kinds(auditor.look(log)) == ["unsigned"]


def test_after_a_loss_the_new_key_is_followed_once_it_is_given_and_the_log_says_so(auditor: Auditor) -> None:
    log = SampleLog()
    log.append("token", {"id": "1"}, due(FIRST))
    auditor.look(log)
    log.signer = SECOND_SIGNER
    watch = Watch(Folder(auditor.folder / "log"), auditor.file, WITNESSES[0])
    log.publish(auditor.folder / "log")
    assert kinds(watch.look(due(FIRST), SECOND_SIGNER.verifier)) == ["unsigned"]
    log.append("key-change", {"note": signed_loss(ORIGIN, SIGNER.verifier, SECOND_SIGNER)}, due(FIRST))
    [finding] = auditor.look(log).findings
    assert finding.kind == "unsigned"
    assert "entry 1 says that the key was lost" in finding.what
    assert str(SECOND_SIGNER.verifier) in finding.what
    assert kinds(watch.look(due(FIRST), Signer(ORIGIN, private(2)).verifier)) == ["unsigned"]
    assert watch.look(due(FIRST), SECOND_SIGNER.verifier).cosignature is not None
    log.append("token", {"id": "2"}, due(FIRST))
    assert auditor.look(log).cosignature is not None


@pytest.mark.parametrize("before", [True, False])
def test_a_key_that_the_log_never_had_is_refused_and_one_that_it_had_is_not(auditor: Auditor, before: bool) -> None:
    log = SampleLog()
    log.append("token", {"id": "1"}, due(FIRST))
    if before:
        log.append("key-change", {"note": signed_change(ORIGIN, SIGNER, SECOND_SIGNER)}, due(FIRST))
        log.signer = SECOND_SIGNER
        log.publish(auditor.folder / "log")
        auditor.watch.look(SOON, SECOND_SIGNER.verifier)
    else:
        auditor.look(log)
        log.append("key-change", {"note": signed_change(ORIGIN, SIGNER, SECOND_SIGNER)}, due(FIRST))
        log.signer = SECOND_SIGNER
        log.publish(auditor.folder / "log")
    remembered = auditor.file.load()
    with pytest.raises(NoteRefused, match="never seen that key"):
        auditor.watch.look(SOON, Signer(ORIGIN, private(2)).verifier)
    assert auditor.file.load() == remembered
    assert auditor.watch.look(SOON, SECOND_SIGNER.verifier).cosignature is not None
    if not before:
        assert auditor.again().cosignature is not None


@pytest.mark.parametrize("path", ["checkpoint", "tile/entries/000.p/32", "tile/0/000.p/32"])
def test_a_log_that_cannot_be_read_whole_is_not_cosigned(auditor: Auditor, path: str) -> None:
    log = sample()
    whole, log.entries = log.entries, log.entries[:9]
    auditor.look(log, EARLY)
    log.entries = whole
    log.publish(auditor.folder / "log")
    (auditor.folder / "log" / path).unlink()
    seen = auditor.again(EARLY)
    assert kinds(seen) == ["unreadable"]
    assert seen.cosignature is None
    assert auditor.look(log, EARLY).cosignature is not None


def test_entries_that_are_not_those_of_the_signed_tree_are_not_cosigned(auditor: Auditor) -> None:
    log = sample()
    log.publish(auditor.folder / "log")
    path = auditor.folder / "log" / "tile/entries/000.p/32"
    path.write_bytes(path.read_bytes().replace(b'"accepted":5', b'"accepted":6', 1))
    seen = auditor.again()
    assert kinds(seen) == ["unreadable"]
    assert auditor.file.load() is None


def test_a_source_that_fails_is_named_and_what_was_remembered_stays(auditor: Auditor) -> None:
    class Silent:
        def get(self, path: str) -> bytes | None:
            raise SourceFailed(f"nothing answers where {path} should be")

    auditor.look(sample())
    before = auditor.file.path.read_bytes()
    seen = Watch(Silent(), auditor.file, COSIGNER).look(SOON)
    assert kinds(seen) == ["unreadable"]
    assert auditor.file.path.read_bytes() == before


def test_silence_is_noticed_and_ends_with_a_new_checkpoint(auditor: Auditor) -> None:
    log = sample()
    auditor.look(log)
    assert kinds(auditor.look(log, SOON + SILENCE)) == []
    late = SOON + SILENCE + timedelta(seconds=1)
    seen = auditor.look(log, late)
    assert "silence" in kinds(seen)
    assert seen.cosignature is not None
    log.purge(FIRST + timedelta(days=4))
    log.purge(FIRST + timedelta(days=5))
    assert kinds(auditor.look(log, late)) == []


def test_silence_is_noticed_though_nothing_answers(auditor: Auditor) -> None:
    log = sample()
    auditor.look(log)
    (auditor.folder / "log" / "checkpoint").unlink()
    assert kinds(auditor.again(SOON + timedelta(hours=27))) == ["unreadable", "silence"]


def grown(change: Callable[[SampleLog], object]) -> SampleLog:
    log = SampleLog()
    log.slice(FIRST, {ORGS[0]: (1, 0)})
    change(log)
    return log


def test_a_day_that_is_due_and_not_gone_is_noticed_an_hour_after_it_should_have_been(auditor: Auditor) -> None:
    log = grown(lambda log: None)
    last = due(FIRST) + CLOSING
    assert kinds(auditor.look(log, last - timedelta(seconds=1))) == []
    seen = auditor.look(log, last)
    assert "missing-day" in kinds(seen)
    assert any(FIRST.isoformat() in each.what for each in seen.findings)
    log.purge(FIRST)
    assert kinds(auditor.look(log, last)) == []


def test_a_day_left_out_between_two_that_went_is_noticed(auditor: Auditor) -> None:
    def two(log: SampleLog) -> None:
        log.purge(FIRST)
        log.purge(FIRST + timedelta(days=2))

    seen = auditor.look(grown(two), SOON)
    assert [(each.kind, (FIRST + timedelta(days=1)).isoformat() in each.what) for each in seen.findings] == [
        ("missing-day", True)
    ]


def test_a_day_that_fell_due_on_a_day_without_a_run_may_go_on_the_next_day_with_one(auditor: Auditor) -> None:
    log = grown(lambda log: log.missed(due(FIRST).date()))
    next_day = due(FIRST) + timedelta(days=1) + CLOSING
    log.append("token", {"id": "1"}, due(FIRST))
    assert "missing-day" not in kinds(auditor.look(log, next_day - timedelta(hours=12)))
    assert "missing-day" in kinds(auditor.look(log, next_day))


def test_reports_that_do_not_name_the_one_before_are_noticed_for_good(auditor: Auditor) -> None:
    log = sample(3)
    log.last = "00" * 32
    log.purge(FIRST + timedelta(days=3))
    assert kinds(auditor.look(log)) == ["broken-chain"]
    assert kinds(auditor.look(log)) == ["broken-chain"]


def test_a_witness_that_knows_no_key_follows_nobody(auditor: Auditor) -> None:
    sample().publish(auditor.folder / "log")
    with pytest.raises(NoteRefused, match="key is not known"):
        auditor.watch.look(SOON)
    auditor.again()
    assert auditor.watch.look(SOON).cosignature is not None
    with pytest.raises(NoteRefused, match="another log"):
        auditor.watch.look(SOON, Signer.generate("textkeep/another").verifier)


@pytest.mark.parametrize("amiss", ["{}", "", "[]", "torn", "origin", "format", "day", "broken"])
def test_a_memory_that_is_damaged_is_refused_and_never_taken_for_none(auditor: Auditor, amiss: str) -> None:
    auditor.look(sample())
    memory = auditor.file.load()
    assert memory is not None
    good = memory.written()
    assert Memory.parse(good) == memory
    other = str(Signer.generate("textkeep/another").verifier)
    changed = {
        "torn": good[: len(good) // 2],
        "origin": replace(memory, key=other).written(),
        "format": replace(memory, format="textkeep-witness-v2").written(),
        "day": replace(memory, purged=("2025-1-1",)).written(),
        "broken": good.replace(b'"broken": 0', b'"broken": "0"'),
    }.get(amiss, amiss.encode())
    auditor.file.path.write_bytes(changed)
    with pytest.raises(MemoryRefused):
        auditor.again()
    assert auditor.file.path.read_bytes() == changed


def test_a_file_that_cannot_be_written_stops_the_cosignature(auditor: Auditor) -> None:
    (auditor.folder / ".state.new").mkdir()
    with pytest.raises(MemoryRefused, match="cannot be written"):
        auditor.look(sample())
    assert auditor.file.load() is None


def test_a_moment_is_remembered_in_utc() -> None:
    assert datetime.fromisoformat("2026-11-09T01:00:00Z") == SOON == SOON.astimezone(UTC)
