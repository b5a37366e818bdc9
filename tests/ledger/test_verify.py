"""The verification: what is sound passes every step, and each lie is found by the step that is there for it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

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
from textkeep.ledger import tree
from textkeep.ledger.key_change import signed_change, signed_loss
from textkeep.ledger.note import Checkpoint, Note, Signer, Verifier, encode64
from textkeep.ledger.proof import Proof
from textkeep.ledger.published import Folder
from textkeep.ledger.report_form import RETENTION_DAYS
from textkeep.ledger.step import Step
from textkeep.ledger.verify import PolicyRefused, verified, verify
from textkeep.retention.policy import RETENTION

DAY = FIRST.isoformat()
KEYS = [SIGNER.verifier]


def steps(log: SampleLog, name: str = DAY, keys: list[Verifier] = KEYS, **more: Any) -> dict[str, Step]:
    cosigners = WITNESSES[:2] if "witnesses" in more else ()
    made = verify(log.reports[name], log.report_proof(name, cosigners), keys, **more)
    return {step.name: step for step in made}


def failing(found: Mapping[Any, Step]) -> set[str]:
    return {name for name, step in found.items() if not step.good}


def purged(**other: Any) -> SampleLog:
    """One day's life and end, with members of its report replaced."""
    log = SampleLog()
    log.slice(FIRST, {ORGS[0]: (3, 1), ORGS[1]: (2, 0)})
    log.slice(FIRST, {ORGS[1]: (5, 2)})
    log.quarantine(FIRST, {"mms": 2})
    log.refuse(FIRST, 4)
    log.purge(FIRST, **other)
    return log


def touched(path: str, value: object) -> dict[str, Any]:
    """The top member of the true report, with one member in it replaced."""
    document = json.loads(purged().reports[DAY])
    first, *rest = path.split(".")
    holder: Any = document
    key: Any = first
    for name in rest:
        holder, key = holder[key], int(name) if name.isdigit() else name
    holder[key] = value
    return {first: document[first]}


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[SampleLog], Folder]:
    return lambda log: Folder(log.publish(tmp_path / "log"))


def test_the_verifier_knows_the_same_retention_as_the_archive() -> None:
    assert timedelta(days=RETENTION_DAYS) == RETENTION


@pytest.mark.parametrize("name", list(sample().reports))
def test_a_sound_report_passes_every_step(name: str, exported: Callable[[SampleLog], Folder]) -> None:
    log = sample()
    found = steps(
        log,
        name,
        old_checkpoint=log.checkpoint(9),
        witnesses=[each.witness for each in WITNESSES[:2]],
        chain=log.reports,
        ledger=exported(log),
    )
    assert {each: step.verdict for each, step in found.items()} == dict.fromkeys(found, "pass")
    assert [step.number for step in found.values()] == list(range(1, 15))
    assert all(step.shows and step.does_not_show and step.reason for step in found.values())


def test_what_was_not_asked_for_is_unknown_and_no_failure() -> None:
    made = verify(sample().reports[DAY], sample().report_proof(DAY), KEYS)
    unknown = {step.name for step in made if step.verdict == "unknown"}
    assert unknown == {"witnesses", "older checkpoint", "ledger", "key changes", "recount", "chain"}
    assert verified(made)


def test_without_a_key_nothing_is_verified() -> None:
    with pytest.raises(PolicyRefused, match="no key"):
        verify(b"", b"", [])


def test_a_report_of_which_one_number_was_changed_is_not_the_one_in_the_ledger() -> None:
    log = sample()
    changed = log.reports[DAY].replace(b'"destroyed":11', b'"destroyed":12')
    found = {step.name: step for step in verify(changed, log.report_proof(DAY), KEYS)}
    assert failing(found) == {"entry", "totals"}
    assert "SHA-256" in found["entry"].reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1.0}',
        b"[" * 100_000,
        b"\xff",
        b'{"a":NaN}',
    ],
)
def test_what_is_no_canonical_report_fails_the_first_step(content: bytes) -> None:
    found = {step.name: step for step in verify(content, sample().report_proof(DAY), KEYS)}
    assert found["report"].verdict == "fail"
    assert not any(found[name].verdict == "pass" for name in ("entry", "totals", "times", "own verdict"))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("format", "textkeep-purge-report-v2"),
        ("kind", "week"),
        ("kind", ["day"]),
        ("shelf", "2025-10-1"),
        ("shelf", "20251001"),
        ("shelf", 7),
        ("number", 0),
        ("number", "unknown"),
        ("number", True),
        ("verdict", "none"),
        ("previous", "abc"),
        ("previous", "unknown"),
    ],
)
def test_a_report_of_another_form_fails_the_first_step(member: str, value: object) -> None:
    document = {**json.loads(sample().reports[DAY]), member: value}
    found = verify(rfc8785.dumps(document), sample().report_proof(DAY), KEYS)
    assert found[0].verdict == "fail"


def test_the_proof_of_another_report_shows_nothing_of_this_one() -> None:
    log = sample()
    other = (FIRST + timedelta(days=1)).isoformat()
    found = {step.name: step for step in verify(log.reports[DAY], log.report_proof(other), KEYS)}
    assert failing(found) == {"entry"}


def test_an_entry_that_is_not_in_the_tree_is_not_taken() -> None:
    log = sample()
    forged = sample()
    document = {**json.loads(log.reports[DAY]), "responsible": {"asked_by": "another"}}
    content = forged.report(document, due(FIRST), DAY)
    true, index = Proof.parse(log.report_proof(DAY)), forged.reported[DAY]
    proof = Proof(true.index, true.path, true.note, forged.entries[index])
    found = {step.name: step for step in verify(content, proof.format(), KEYS)}
    assert failing(found) == {"inclusion"}


def test_a_proof_without_its_entry_shows_nothing() -> None:
    log = sample()
    true = Proof.parse(log.report_proof(DAY))
    bare = Proof(true.index, true.path, true.note).format()
    found = {step.name: step for step in verify(log.reports[DAY], bare, KEYS)}
    assert {"proof", "entry", "inclusion"} <= failing(found)


def test_a_checkpoint_that_somebody_else_signed_is_not_taken() -> None:
    forged = sample()
    forged.signer = SECOND_SIGNER
    found = steps(forged)
    assert failing(found) == {"checkpoint", "inclusion"}
    assert found["inclusion"].verdict == "unknown"


def test_the_checkpoint_of_another_log_is_not_taken_whoever_signed_it() -> None:
    log = sample()
    leaves = log.hashes()
    text = Checkpoint("textkeep/another", len(leaves), tree.root(leaves)).format()
    true = Proof.parse(log.report_proof(DAY))
    proof = Proof(true.index, true.path, Note(text, (SIGNER.sign(text),)).format(), true.extra)
    found = {step.name: step for step in verify(log.reports[DAY], proof.format(), KEYS)}
    assert found["checkpoint"].verdict == "fail"
    assert "another log" in found["checkpoint"].reason


def test_every_witness_that_is_named_must_have_cosigned() -> None:
    log = sample()
    named = [each.witness for each in WITNESSES]
    assert failing(steps(log, witnesses=named[:2])) == set()
    found = steps(log, witnesses=named)
    assert failing(found) == {"witnesses"}
    assert WITNESSES[2].name in found["witnesses"].reason


def test_a_false_cosignature_in_the_name_of_a_witness_fails() -> None:
    log = sample()
    true = Proof.parse(log.report_proof(DAY, WITNESSES[:2]))
    note = true.note.replace(encode64(WITNESSES[1].cosign("x", 5).raw).encode(), b"")
    line = WITNESSES[0].cosign("another text", 5).line.encode()
    proof = Proof(true.index, true.path, note.partition("— witness".encode())[0] + line, true.extra)
    found = {s.name: s for s in verify(log.reports[DAY], proof.format(), KEYS, witnesses=[WITNESSES[0].witness])}
    assert failing(found) == {"witnesses"}


@pytest.mark.parametrize("size", [1, 8, 20, 31, 32])
def test_a_log_that_only_grew_is_consistent_with_every_earlier_and_later_checkpoint(
    size: int, exported: Callable[[SampleLog], Folder]
) -> None:
    log = sample()
    folder = exported(log)
    assert failing(steps(log, old_checkpoint=log.checkpoint(size), ledger=folder)) == set()
    early = log.proof(log.reported[DAY], log.reported[DAY] + 1)
    made = verify(log.reports[DAY], early, KEYS, old_checkpoint=log.checkpoint(size), ledger=folder)
    assert verified(made)


def test_a_log_that_was_written_anew_is_not_consistent_with_what_was_signed_before(
    exported: Callable[[SampleLog], Folder],
) -> None:
    log, other = sample(), SampleLog()
    other.append("token", {"id": "0"}, due(FIRST))
    for number in range(8):
        other.append("token", {"id": f"{number}"}, due(FIRST))
    found = steps(log, old_checkpoint=other.checkpoint(), ledger=exported(log))
    assert failing(found) == {"older checkpoint"}
    assert "keep both" in found["older checkpoint"].reason


def test_two_signed_checkpoints_of_one_size_are_called_a_fork() -> None:
    log, other = sample(), sample()
    other.entries[-1] = other.entries[0]
    found = steps(log, old_checkpoint=other.checkpoint())
    assert "FORKED" in found["older checkpoint"].reason
    assert failing(found) == {"older checkpoint"}


def test_an_older_checkpoint_that_cannot_be_compared_is_not_passed_over() -> None:
    log = sample()
    found = steps(log, old_checkpoint=log.checkpoint(9))
    assert found["older checkpoint"].verdict == "unknown"
    assert failing(found) == {"older checkpoint"}


def test_an_older_checkpoint_that_the_key_did_not_sign_counts_for_nothing(
    exported: Callable[[SampleLog], Folder],
) -> None:
    log, other = sample(), sample()
    other.signer = SECOND_SIGNER
    assert failing(steps(log, old_checkpoint=other.checkpoint(9), ledger=exported(log))) == {"older checkpoint"}


def test_a_key_is_followed_through_a_change_that_both_keys_signed(exported: Callable[[SampleLog], Folder]) -> None:
    log = SampleLog()
    log.append("key-change", {"note": signed_change(ORIGIN, SIGNER, SECOND_SIGNER)}, due(FIRST))
    log.slice(FIRST, {ORGS[0]: (3, 1)})
    log.purge(FIRST)
    log.signer = SECOND_SIGNER
    folder = exported(log)
    found = steps(log, ledger=folder)
    assert failing(found) == set()
    assert "passed the log on" in found["checkpoint"].reason
    assert failing(steps(log)) == {"checkpoint", "inclusion"}
    assert failing(steps(log, keys=[SECOND_SIGNER.verifier], ledger=folder)) == set()


def test_a_change_of_key_that_only_the_new_key_signed_is_not_followed(exported: Callable[[SampleLog], Folder]) -> None:
    log = SampleLog()
    note = Note(text := f"textkeep-key-change-v1\n{ORIGIN}\n{SIGNER.verifier}\n{SECOND_SIGNER.verifier}\n", ())
    half = note.signed_also(SECOND_SIGNER.sign(text)).format().decode()
    log.append("key-change", {"note": half}, due(FIRST))
    log.slice(FIRST, {ORGS[0]: (3, 1)})
    log.purge(FIRST)
    folder = exported(log)
    assert failing(steps(log, ledger=folder)) == {"key changes"}
    log.signer = SECOND_SIGNER
    assert "checkpoint" in failing(steps(log, ledger=exported(log)))


def lost_log() -> SampleLog:
    """A log whose key was lost after its first purge; the new one signs it, and purges the second day."""
    log = SampleLog()
    log.slice(FIRST, {ORGS[0]: (3, 1)})
    log.purge(FIRST)
    note = signed_loss(ORIGIN, SIGNER.verifier, SECOND_SIGNER)
    log.append("key-change", {"note": note, "approval": "a-1"}, due(FIRST))
    log.signer = SECOND_SIGNER
    return log


def test_a_key_that_took_a_lost_ones_place_is_not_followed_and_the_entry_is_named(
    exported: Callable[[SampleLog], Folder],
) -> None:
    log = lost_log()
    found = steps(log, ledger=exported(log))
    assert "checkpoint" in failing(found)
    assert "was lost" in found["checkpoint"].reason
    assert str(SECOND_SIGNER.verifier) in found["checkpoint"].reason
    assert failing(steps(log)) == {"checkpoint", "inclusion"}


def test_who_trusts_the_new_key_too_is_told_what_no_proof_shows(exported: Callable[[SampleLog], Folder]) -> None:
    log = lost_log()
    folder, older = exported(log), SampleLog(entries=log.entries[:2]).checkpoint()
    both = [SIGNER.verifier, SECOND_SIGNER.verifier]
    found = steps(log, keys=both, ledger=folder, old_checkpoint=older)
    assert failing(found) == set()
    assert "no proof connects it" in found["key changes"].reason
    assert "the log grew from 2 to" in found["older checkpoint"].reason
    alone = steps(log, keys=[SECOND_SIGNER.verifier], ledger=folder, old_checkpoint=older)
    assert failing(alone) == {"older checkpoint"}


def test_a_loss_that_somebody_else_claims_in_a_log_that_goes_on_with_its_key_is_found_out(
    exported: Callable[[SampleLog], Folder],
) -> None:
    log = lost_log()
    log.signer = SIGNER
    found = steps(log, ledger=exported(log))
    assert failing(found) == {"key changes"}
    assert "you gave neither" in found["key changes"].reason


def test_the_key_after_a_lost_one_is_followed_through_a_change_that_both_signed(
    exported: Callable[[SampleLog], Folder],
) -> None:
    log, third = lost_log(), Signer(ORIGIN, private(2))
    log.append("key-change", {"note": signed_change(ORIGIN, SECOND_SIGNER, third)}, due(FIRST))
    log.signer = third
    for key in (SECOND_SIGNER, third):
        assert failing(steps(log, keys=[key.verifier], ledger=exported(log))) == set()


@pytest.mark.parametrize(
    ("path", "value", "step"),
    [
        ("totals.destroyed", 12, "totals"),
        ("totals.taken", 14, "totals"),
        ("totals.lost", 1, "totals"),
        ("totals.taken", -1, "totals"),
        ("totals.kept", 1.5, "totals"),
        ("totals.versions", 99, "totals"),
        ("totals", "unknown", "totals"),
        ("totals", [], "totals"),
        ("organisations.0.taken_texts", 4, "totals"),
        ("organisations.0.found", 5, "totals"),
        ("organisations.1.org", ORGS[0], "totals"),
        ("organisations.1.org", [], "totals"),
        ("roots.found", "00" * 32, "totals"),
        ("roots.destroyed", "00" * 32, "totals"),
        ("roots.kept", "00" * 32, "totals"),
        ("roots.kept", "00", "totals"),
        ("quarantine.reasons", {"mms": 3}, "totals"),
        ("quarantine.reasons", [], "totals"),
        ("refusals.count", 3, "totals"),
        ("slices.entries", [[1, 0]], "totals"),
        ("slices.entries", [[0, 2], [1, 3]], "totals"),
        ("slices.entries", [[0, 2**40]], "totals"),
        ("slices.entries", "all", "totals"),
        ("opened_at", "2026-11-05T23:59:59.999Z", "times"),
        ("opened_at", "2026-11-06 00:03:00", "times"),
        ("committed_at", "2026-11-06T00:02:59.000Z", "times"),
        ("committed_at", "unknown", "times"),
        ("reported_at", "2026-11-06T00:03:01.000Z", "times"),
        ("cutoff.due_at", "2026-11-05T00:00:00.000Z", "times"),
        ("steps.3.verdict", "fail", "own verdict"),
        ("steps.3.verdict", "unknown", "own verdict"),
        ("steps.3.verdict", ["pass"], "own verdict"),
        ("readback.0.verdict", "fail", "own verdict"),
        ("readback", "unknown", "own verdict"),
        ("steps", [1], "own verdict"),
    ],
)
def test_a_report_that_does_not_agree_with_itself_is_found_out_though_it_was_signed(
    path: str, value: object, step: str
) -> None:
    assert failing(steps(purged())) == set()
    assert step in failing(steps(purged(**touched(path, value))))


def test_a_report_that_says_fail_of_itself_is_verified_and_says_so() -> None:
    log = purged(verdict="fail")
    assert failing(steps(log)) == set()
    assert steps(log)["own verdict"].reason == "the report itself says: fail"


def test_a_signed_report_that_leaves_a_slice_out_is_found_out(exported: Callable[[SampleLog], Folder]) -> None:
    log = purged()
    log.slice(FIRST, {ORGS[0]: (1, 0)})  # after the count
    found = steps(log, ledger=exported(log))
    assert failing(found) == {"recount"}
    assert "after it was reported" in found["recount"].reason


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("slices.entries", [[0, 0]]),
        ("slices.entries", [[0, 2]]),
        ("slices.counted", 3),
        ("quarantine.entries", []),
        ("refusals.entries", []),
        ("refusals.entries", [[2, 2]]),
        ("refusals.producers", {"dd" * 8: 4}),
        ("refusals.reasons", {"another": 4}),
        ("quarantine.reasons", {"group": 2}),
        ("steps.0.entry", 0),
        ("steps.0.entry", 7),
        ("steps.0.entry", "4"),
    ],
)
def test_a_signed_report_that_is_not_what_the_ledger_says_is_found_out(
    path: str, value: object, exported: Callable[[SampleLog], Folder]
) -> None:
    assert failing(steps(purged(), ledger=exported(purged()))) == set()
    log = purged(**touched(path, value))
    if (path, value) == ("steps.0.entry", 0):
        log.entries[0] = log.entries[0].replace(b'"shelf":"2025-10-01"', b'"shelf":"2025-10-02"')
    assert "recount" in failing(steps(log, ledger=exported(log)))


def test_totals_that_agree_with_each_other_and_not_with_the_ledger_are_found_out(
    exported: Callable[[SampleLog], Folder],
) -> None:
    document = json.loads(purged().reports[DAY])
    document["totals"] |= {"taken": 14, "destroyed": 14, "found": 14}
    document["organisations"][0] |= {"taken_texts": 4, "found": 5}
    log = purged(totals=document["totals"], organisations=document["organisations"])
    assert failing(steps(log)) == set()
    assert failing(steps(log, ledger=exported(log))) == {"recount"}


@pytest.mark.parametrize("amiss", ["missing", "fewer", "order", "other", "twice", "torn", "no json"])
def test_leaves_that_are_not_those_of_the_entries_are_found_out(tmp_path: Path, amiss: str) -> None:
    log = purged()
    path = log.publish(tmp_path) / "leaves" / DAY
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    name, hashes = lines[0]["id"], log.leaves[DAY][lines[0]["id"]]
    changed = {
        "missing": lines[1:],
        "fewer": [{"id": name, "hashes": encode64(b"".join(hashes[1:]))}, *lines[1:]],
        "order": [{"id": name, "hashes": encode64(b"".join(hashes[::-1]))}, *lines[1:]],
        "other": [{"id": name, "hashes": encode64(b"".join([*hashes[1:], b"\xff" * 32]))}, *lines[1:]],
        "twice": [lines[0], *lines],
        "torn": [{"id": name, "hashes": encode64(b"".join(hashes)[:-1])}, *lines[1:]],
        "no json": [[]],
    }[amiss]
    path.write_text("".join(f"{json.dumps(each)}\n" for each in changed))
    assert failing(steps(log, ledger=Folder(tmp_path))) == {"recount"}


def test_without_the_leaves_the_roots_of_the_entries_are_what_is_counted(tmp_path: Path) -> None:
    log = purged()
    (log.publish(tmp_path) / "leaves" / DAY).unlink()
    found = steps(log, ledger=Folder(tmp_path))
    assert failing(found) == set()
    assert "not in the folder" in found["recount"].reason


def kept_log(keep: int = 2, **other: Any) -> SampleLog:
    """A day of whose first slice a hold keeps some texts."""
    log = SampleLog()
    log.slice(FIRST, {ORGS[0]: (5, 0)})
    log.slice(FIRST, {ORGS[1]: (2, 0)})
    name, members = next(iter(log.leaves[DAY].items()))
    shelf = f"kept-{ORGS[0]}-1"
    log.slice(
        FIRST,
        {ORGS[0]: (keep, 0)},
        at=due(FIRST),
        kind="kept",
        shelf=shelf,
        members=members[:keep],
        **{"from": DAY, "from_slice": name},
    )
    log.purge(FIRST, kept={name: members[:2]}, **other)
    return log


def test_what_a_hold_kept_is_counted_and_taken_from_what_was_destroyed(exported: Callable[[SampleLog], Folder]) -> None:
    log = kept_log()
    assert json.loads(log.reports[DAY])["totals"]["kept"] == 2
    assert failing(steps(log, ledger=exported(log))) == set()


def test_a_text_that_was_carried_over_undecided_counts_as_kept(exported: Callable[[SampleLog], Folder]) -> None:
    log = SampleLog()
    log.slice(FIRST, {ORGS[0]: (5, 0)})
    log.quarantine(FIRST, {"mms": 1})
    name, members = next(iter(log.leaves[DAY].items()))
    aside = log.leaves[DAY][f"q1:{DAY}"]
    shelf = "kept-0000000000000000-1"
    log.leaves[shelf] = {f"p1:{shelf}": sorted([members[0], *aside])}
    body = {"part": "p1", "papers": 2, "undecided": 1, "texts": 1, "from": DAY}
    log.append("kept", {**body, "root": tree.root_of_set([members[0], *aside]).hex()}, due(FIRST), shelf)
    log.purge(FIRST, kept={name: members[:1]})
    assert failing(steps(log, ledger=exported(log))) == set()


def released(**other: Any) -> SampleLog:
    """A generation of held texts that goes whole: a slice and two records."""
    log, shelf = SampleLog(), f"kept-{ORGS[0]}-1"
    source: dict[str, Any] = {"from": DAY, "from_slice": "00" * 8}
    log.slice(FIRST, {ORGS[0]: (2, 1)}, kind="kept", shelf=shelf, **source)
    records = [hashlib.sha256(bytes([each])).digest() for each in range(2)]
    log.leaves[shelf][f"p1:{shelf}"] = sorted(records)
    body = {"part": "p1", "papers": 2, "undecided": 0, "texts": 0, "from": DAY}
    log.append("kept", {**body, "root": tree.root_of_set(records).hex()}, due(FIRST), shelf)
    log.release(shelf, **other)
    return log


def test_the_report_of_a_release_is_verified_like_that_of_a_day(exported: Callable[[SampleLog], Folder]) -> None:
    log = released()
    name = next(iter(log.reports))
    assert failing(steps(log, name, chain=log.reports, ledger=exported(log))) == set()
    census = json.loads(log.reports[name])
    assert (census["totals"]["taken"], census["quarantine"]["taken"]) == (3, 2)
    wrong = released(quarantine={**census["quarantine"], "taken": 3, "destroyed": 3})
    assert failing(steps(wrong, name, ledger=exported(wrong))) == {"recount"}


@pytest.mark.parametrize(
    ("decided", "why"),
    [
        ({"approved_by": "a1" * 8}, "one person asked"),
        ({"wait": timedelta(hours=24) - timedelta(milliseconds=1)}, "within 24 hours"),
        ({"wait": timedelta(hours=26)}, "before its release took effect"),
        ({"by": "c3" * 8}, "no entry says that b2b2b2b2b2b2b2b2 approved it"),
        ({"subject": "h-0000000000000002"}, "no entry says that a1a1a1a1a1a1a1a1 asked it"),
        ({"ends": "2026-01-01T00:00:00.000Z"}, "does not say that it was released so"),
    ],
)
def test_a_release_of_one_person_or_within_24_hours_is_no_release(
    exported: Callable[[SampleLog], Folder], decided: dict[str, Any], why: str
) -> None:
    log = released(decided=decided)
    found = steps(log, next(iter(log.reports)), ledger=exported(log))
    assert failing(found) == {"times"}
    assert why in found["times"].reason


def test_records_that_were_kept_or_returned_are_counted_anew(exported: Callable[[SampleLog], Folder]) -> None:
    def log(**other: Any) -> SampleLog:
        made = SampleLog()
        made.slice(FIRST, {ORGS[0]: (5, 0)})
        made.quarantine(FIRST, {"mms": 3})
        shelf, aside = "kept-0000000000000000-1", made.leaves[DAY][f"q1:{DAY}"]
        made.leaves[shelf] = {f"p1:{shelf}": aside[:1]}
        body = {"part": "p1", "papers": 1, "undecided": 0, "texts": 0, "from": DAY}
        made.append("kept", {**body, "root": tree.root_of_set(aside[:1]).hex()}, due(FIRST), shelf)
        made.append("returned", {"count": 1, "leaf": aside[1].hex()}, due(FIRST), DAY)
        made.purge(FIRST, **other)
        return made

    right = log()
    told = json.loads(right.reports[DAY])["quarantine"]
    assert (told["kept"], told["returned"], told["destroyed"]) == (1, 1, 1)
    assert failing(steps(right, ledger=exported(right))) == set()
    for wrong in ({"kept": 0, "destroyed": 2}, {"kept": 2, "destroyed": 0}, {"returned": 0, "destroyed": 2}):
        false = log(quarantine={**told, **wrong})
        assert failing(steps(false, ledger=exported(false))) == {"recount"}
    hidden = log(quarantine={**told, "destroyed": 0, "lost": 1})
    assert failing(steps(hidden, ledger=exported(hidden))) == {"own verdict"}


def test_of_what_was_lost_a_root_may_be_unknown_and_of_nothing_else(exported: Callable[[SampleLog], Folder]) -> None:
    document = json.loads(purged().reports[DAY])
    unknown = {**document["roots"], "destroyed": "unknown"}
    assert failing(steps(purged(roots=unknown))) == {"totals"}
    totals = {**document["totals"], "destroyed": 7, "lost": 6}
    log = purged(roots=unknown, totals=totals, verdict="fail")
    assert failing(steps(log, ledger=exported(log))) == set()


def test_a_report_that_kept_more_or_other_texts_than_the_ledger_says_is_found_out(
    exported: Callable[[SampleLog], Folder],
) -> None:
    for log in (kept_log(keep=1), kept_log(keep=3)):
        assert failing(steps(log, ledger=exported(log))) == {"recount"}
    roots = json.loads(kept_log().reports[DAY])["roots"]
    log = kept_log(roots={**roots, "kept": roots["destroyed"]})
    assert failing(steps(log, ledger=exported(log))) == {"recount"}


def test_an_entry_changed_in_the_folder_is_found_out(tmp_path: Path) -> None:
    log = sample()
    path = next((log.publish(tmp_path) / "tile/entries/000.p").iterdir())
    path.write_bytes(path.read_bytes().replace(b'"accepted":5', b'"accepted":6', 1))
    found = steps(log, ledger=Folder(tmp_path))
    assert {"ledger"} <= failing(found)
    assert found["recount"].verdict == "unknown"


@pytest.mark.parametrize("path", ["tile/entries/000.p/32", "checkpoint"])
def test_a_part_that_is_missing_shows_nothing_and_is_not_passed_over(tmp_path: Path, path: str) -> None:
    log = sample()
    (log.publish(tmp_path) / path).unlink()
    found = steps(log, ledger=Folder(tmp_path))
    assert found["ledger"].verdict == "unknown"
    assert {"ledger", "recount", "key changes"} <= failing(found)


def test_a_folder_of_the_ledger_that_is_too_old_for_the_proof_shows_nothing_of_it(tmp_path: Path) -> None:
    young, old = sample(), sample()
    del old.entries[20:]
    assert "ledger" in failing(steps(young, ledger=Folder(old.publish(tmp_path))))


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda reports: {each: content for each, content in reports.items() if each != name}


@pytest.mark.parametrize(
    "change",
    [
        without(DAY),
        without((FIRST + timedelta(days=1)).isoformat()),
        without("missed-run-2026-11-07"),
        lambda reports: {**reports, "2026-01-01": reports[DAY]},
        lambda reports: {**reports, DAY: reports[DAY] + b" "},
        lambda reports: {f"x{name}": content for name, content in reports.items()},
        lambda reports: {},
    ],
)
def test_a_chain_with_a_report_missing_changed_or_twice_is_found_out(
    change: Callable[[dict[str, bytes]], dict[str, bytes]],
) -> None:
    log = sample()
    assert failing(steps(log, chain=log.reports)) == set()
    assert failing(steps(log, chain=change(log.reports))) == {"chain"}


def test_a_chain_that_leaves_its_last_reports_out_is_found_out_by_the_ledger(
    exported: Callable[[SampleLog], Folder],
) -> None:
    log = sample()
    cut = without((FIRST + timedelta(days=3)).isoformat())(log.reports)
    assert failing(steps(log, chain=cut)) == set()
    found = steps(log, chain=cut, ledger=exported(log))
    assert failing(found) == {"chain"}
    assert "the ledger speaks of 5 reports" in found["chain"].reason


def test_a_chain_in_which_a_number_or_a_day_is_missing_is_found_out() -> None:
    for days, number in ((2, 0), (1, 1)):
        log = SampleLog()
        log.purge(FIRST)
        log.number += number
        log.purge(FIRST + timedelta(days=days))
        found = steps(log, chain=log.reports)
        assert failing(found) == {"chain"}
        assert ("without a report" if days == 2 else "a gap") in found["chain"].reason


def test_reports_that_are_newer_than_the_ledgers_folder_are_no_gap(tmp_path: Path) -> None:
    log = sample()
    proof, folder = log.report_proof(DAY), Folder(log.publish(tmp_path))
    log.purge(FIRST + timedelta(days=4))
    assert verified(verify(log.reports[DAY], proof, KEYS, chain=log.reports, ledger=folder))


def test_the_digest_that_the_entry_names_is_of_exactly_these_bytes() -> None:
    log = sample()
    assert hashlib.sha256(log.reports[DAY]).hexdigest() in steps(log)["entry"].reason
