"""Whatever happens, in whatever order: what a hold covers stays, what is due goes, and the ledger is one line.

Texts come, holds are placed and released, days are purged, the process dies anywhere, older copies are put back and
clocks jump; a dictionary says what must be there (`modelled.py`).
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.whole.modelled import OLD, ORGS, Template, World, few_days
from textkeep.archive.shelf import Day

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "15"))
DEAD = st.one_of(st.none(), st.none(), st.integers(1, 60))
"""Where the process dies, if it does."""


AROUND = ["intent", "kept", "kept", "witnessed", "witnessed", "committed", "shredded", "verified"]
"""After which step of a purge a hold comes: mostly where it is decided who was first."""


class Holds(RuleBasedStateMachine):
    """What may happen to an archive, at any time: what cannot be done then is not done.

    No rule has a precondition, so that what is drawn never depends on the random names of an archive's own.
    """

    template: Template

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.template)

    def teardown(self) -> None:
        try:
            self.world.conclude()
        finally:
            self.world.close()

    @rule(day=st.sampled_from([*OLD, None]), org=st.sampled_from(ORGS), aside=st.booleans(), point=DEAD)
    def texts_come(self, day: Day | None, org: str, aside: bool, point: int | None) -> None:
        self.world.ingest(day or Day.of(self.world.clock()), org, aside=aside, point=point)

    @rule(org=st.sampled_from(ORGS), word=st.sampled_from(["merger", "lunch", None]), point=DEAD)
    def hold_is_placed(self, org: str, word: str | None, point: int | None) -> None:
        self.world.place(org, word, point)

    @rule(number=st.integers(0, 20))
    def release_is_asked_for(self, number: int) -> None:
        self.world.ask(number)

    @rule(
        number=st.integers(0, 20),
        outcome=st.sampled_from(["approved", "approved", "refused"]),
        same=st.sampled_from([False, False, True]),
        point=DEAD,
    )
    def release_is_decided(self, number: int, outcome: str, same: bool, point: int | None) -> None:
        self.world.decide(number, outcome, same=same, point=point)

    @rule(hours=st.sampled_from([6, 12, 12, 25]))
    def time_passes(self, hours: int) -> None:
        self.world.wait(hours)

    @rule(point=DEAD)
    def purge_runs(self, point: int | None) -> None:
        self.world.purge(point)

    @rule(step=st.sampled_from(AROUND), org=st.sampled_from(ORGS), word=st.sampled_from(["merger", "lunch", None]))
    def hold_is_placed_while_a_purge_runs(self, step: str, org: str, word: str | None) -> None:
        self.world.purge_and_place(step, org, word)

    @rule(hours=st.sampled_from([-1, -48, 27, 24 * 30]))
    def clock_jumps(self, hours: int) -> None:
        self.world.jump(hours)

    @rule()
    def process_starts_anew(self) -> None:
        self.world.open()

    @rule()
    def backup_is_made(self) -> None:
        self.world.back_up()

    @rule()
    def older_database_is_put_back(self) -> None:
        self.world.restore_database()

    @rule()
    def older_keyring_is_put_back(self) -> None:
        self.world.restore_keyring()

    @invariant()
    def nothing_is_amiss(self) -> None:
        self.world.check()
        self.world.sign()


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> type[Holds]:
    monkeypatch.setattr("textkeep.archive.shelves.open_days", few_days)
    template = Template.build(tmp_path_factory.mktemp("template"))
    return type("Holds", (Holds,), {"template": template})


def explore(machine: type[Holds], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # a life takes a second: shrinking one that fails would take half an hour
            print_blob=True,
        ),
    )


def test_what_holds_cover_stays_and_what_is_due_goes_whatever_happens(machine: type[Holds]) -> None:
    explore(machine, EXAMPLES, 50)


@pytest.mark.soak
def test_1000_lives_of_50_steps_each(machine: type[Holds]) -> None:
    explore(machine, 1_000, 50)


@pytest.mark.soak
def test_20000_lives_of_100_steps_each(machine: type[Holds]) -> None:
    explore(machine, 20_000, 100)
