"""Evidence that is almost right: none of it is accepted, and an auditor's own program in Go says the same of each.

20,000 flipped bits and 50,000 forgeries of reports, proofs and checkpoints, the same ones at every run.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.ledger.auditing import Case, Cases, built
from tests.ledger.mutating import Evidence, Mutations
from tests.ledger.sample_log import SIGNER, WITNESSES, sample
from textkeep.ledger.verify import verified, verify

SEED = 20261122
FLIPS = 20_000
FORGERIES = 50_000
KEY, WITNESS = SIGNER.verifier, WITNESSES[0].witness


def accepted(evidence: Evidence) -> bool:
    return verified(verify(*evidence, [KEY], witnesses=[WITNESS]))


def changed() -> Iterator[Evidence]:
    made = Mutations(sample(), SEED)
    yield from made.flips(FLIPS)
    yield from made.forgeries(FORGERIES)


def case(evidence: Evidence) -> Case:
    return "p", (*evidence, str(KEY).encode(), str(WITNESS).encode())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[bool], Cases]]:
    """What Python says of each, and the same cases for the other program."""
    with Cases(tmp_path_factory.mktemp("mutations")) as cases:
        verdicts = []
        for each in changed():
            verdicts.append(accepted(each))
            cases.add(case(each))
        yield verdicts, cases


def test_what_was_not_changed_is_accepted() -> None:
    assert all(accepted(each) for each in Mutations(sample(), SEED).true())


def test_no_flipped_bit_and_no_forgery_is_accepted(told: tuple[list[bool], Cases]) -> None:
    verdicts, _ = told
    assert len(verdicts) == FLIPS + FORGERIES
    assert [number for number, each in enumerate(verdicts) if each] == []


def test_the_same_are_refused_by_the_auditors_own_program(
    told: tuple[list[bool], Cases], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    auditor = built(request, tmp_path)
    assert all(auditor.accepts(map(case, Mutations(sample(), SEED).true()), tmp_path))
    answers = auditor.answers(told[1])
    assert len(answers) == FLIPS + FORGERIES
    assert [number for number, each in enumerate(answers) if each] == []


def test_the_same_forgeries_come_at_every_run() -> None:
    assert list(islice(changed(), FLIPS - 5, FLIPS + 50)) == list(islice(changed(), FLIPS - 5, FLIPS + 50))
