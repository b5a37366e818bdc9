"""Whatever happens, in whatever order: what a hold covers stays, what is due goes, and the ledger is one line.

Texts come, holds are placed and released, days are purged, the process dies anywhere, older copies are put back and
clocks jump; a dictionary says what must be there (`modelled.py`). A life that fails prints the seed of its part and,
at the end of what hypothesis says, a blob: `MODEL_BLOB=... MODEL_STEPS=50` lives it again, and nothing else.
"""

import os
import random
import sys
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.whole.events import Event, events
from tests.whole.modelled import World
from tests.whole.template import Templates

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "1000"))
"""How many lives of 50 steps an ordinary run lives."""

PARTS = 8
"""How many tests share them: a file of many tests is begun early, where each file is one process's."""

SEED = os.environ.get("MODEL_SEED", "holds")
"""What the lives of every part come of: the same ones in each ordinary run; `any` is another one each time."""

BLOB = os.environ.get("MODEL_BLOB")
"""The one life to live, as hypothesis has printed it."""

STEPS = int(os.environ.get("MODEL_STEPS", "50"))


class Holds(RuleBasedStateMachine):
    """Anything may happen at any time.

    There is one rule, of which no life goes without: of many, hypothesis leaves some out of each life, and three lives
    of five would have no text or no hold. It has no precondition, so that what is drawn never depends on the random
    names of an archive's own.
    """

    templates: Templates
    world: World | None = None
    by_day = True

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if sys.exc_info()[0] is None:  # what ended it is told as it was
                self.world.conclude(by_day=self.by_day)
        finally:
            self.world.close()

    @initialize(days=st.sampled_from([1, 2, 2, 1, 3, 2, 1, 2, 3, 1, 2, 5]), by_day=st.booleans())
    def archive_is_made(self, days: int, by_day: bool) -> None:
        self.world, self.by_day = World(self.templates.of(days)), by_day

    @rule(event=events())
    def it_happens(self, event: Event) -> None:
        assert self.world is not None
        event.happen(self.world)

    @invariant()
    def nothing_is_amiss(self) -> None:
        assert self.world is not None
        self.world.look()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Holds]]:
    with pytest.MonkeyPatch.context() as patch:
        templates = Templates(tmp_path_factory.mktemp("templates"))
        patch.setattr("textkeep.archive.shelves.open_days", templates.open_days)
        yield type("Holds", (Holds,), {"templates": templates})
        templates.store.close()


def explore(machine: type[Holds], examples: int, steps: int, part: int = 0) -> None:
    drawn = str(random.randrange(2**32)) if SEED == "any" else SEED
    print(f"MODEL_SEED={drawn}, part {part}: {examples} lives of {steps} steps")
    lived = seed(f"{drawn} {part}")(type("Holds", (machine,), {}))
    if BLOB is not None:
        lived = hypothesis.reproduce_failure(hypothesis.__version__, BLOB.encode())(lived)
    run_state_machine_as_test(
        lived,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one that fails would take minutes
            print_blob=True,
        ),
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_what_holds_cover_stays_and_what_is_due_goes_whatever_happens(machine: type[Holds], part: int) -> None:
    examples = len(range(part, EXAMPLES, PARTS))
    if examples and (BLOB is None or part == 0):
        explore(machine, examples, STEPS, part)


@pytest.mark.soak
def test_20000_lives_of_100_steps_each(machine: type[Holds]) -> None:
    explore(machine, 20_000, 100)
