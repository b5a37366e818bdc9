"""What may happen to an archive, each with all that was drawn for it; what cannot be done then is not done."""

from functools import partial
from typing import NamedTuple, Protocol

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.whole.modelled import World
from tests.whole.template import ORGS
from textkeep.archive.shelf import Day


class Event(Protocol):
    """Something that happens."""

    def happen(self, world: World) -> None:
        """Do it, and see that it does what it must."""


class TextsCome(NamedTuple):
    """A batch of one of the days that turn old, or of now; `aside` is for quarantine; `point` where it is cut off."""

    at: int
    org: str
    aside: bool
    point: int | None

    def happen(self, world: World) -> None:
        days = [*world.days, Day.of(world.clock())]
        world.ingest(days[self.at % len(days)], self.org, aside=self.aside, point=self.point)


class HoldIsPlaced(NamedTuple):
    org: str
    word: str | None
    point: int | None

    def happen(self, world: World) -> None:
        world.place(self.org, self.word, self.point)


class ReleaseIsAskedFor(NamedTuple):
    number: int

    def happen(self, world: World) -> None:
        world.ask(self.number)


class ReleaseIsDecided(NamedTuple):
    """By another person, or the `same`."""

    number: int
    outcome: str
    same: bool
    point: int | None

    def happen(self, world: World) -> None:
        world.decide(self.number, self.outcome, same=self.same, point=self.point)


class TimePasses(NamedTuple):
    hours: int

    def happen(self, world: World) -> None:
        world.wait(self.hours)


class LedgerIsSigned(NamedTuple):
    point: int | None

    def happen(self, world: World) -> None:
        world.sign(self.point)


class PurgeRuns(NamedTuple):
    point: int | None

    def happen(self, world: World) -> None:
        world.purge(self.point)


class HoldIsPlacedWhileAPurgeRuns(NamedTuple):
    step: str
    org: str
    word: str | None

    def happen(self, world: World) -> None:
        world.purge_and_place(self.step, self.org, self.word)


class ClockJumps(NamedTuple):
    hours: int

    def happen(self, world: World) -> None:
        world.jump(self.hours)


class ProcessStartsAnew(NamedTuple):
    def happen(self, world: World) -> None:
        world.open()


class BackupIsMade(NamedTuple):
    def happen(self, world: World) -> None:
        world.back_up()


class OlderDatabaseIsPutBack(NamedTuple):
    def happen(self, world: World) -> None:
        world.restore_database()


class OlderKeyringIsPutBack(NamedTuple):
    def happen(self, world: World) -> None:
        world.restore_keyring()


def events() -> SearchStrategy[Event]:
    """Any event; those named twice come twice as often, as they are not one strategy."""
    dead = st.one_of(st.none(), st.none(), st.integers(1, 60))  # where the process dies, if it does
    org, number = st.sampled_from(ORGS), st.integers(0, 20)
    word = st.sampled_from(["merger", "lunch", None])
    outcome = st.sampled_from(["approved", "approved", "refused"])
    # Mostly where it is decided who was first.
    around = st.sampled_from(["intent", "kept", "kept", "witnessed", "witnessed", "committed", "shredded", "verified"])
    texts = partial(st.builds, TextsCome, st.integers(0, 11), org, st.booleans(), dead)
    asked = partial(st.builds, ReleaseIsAskedFor, number)
    decided = partial(st.builds, ReleaseIsDecided, number, outcome, st.sampled_from([False, False, True]), dead)
    purge = partial(st.builds, PurgeRuns, dead)
    return st.one_of(
        *(texts(), texts()),
        st.builds(HoldIsPlaced, org, word, dead),
        *(asked(), asked()),
        *(decided(), decided()),
        st.builds(TimePasses, st.sampled_from([6, 12, 12, 25])),
        st.builds(LedgerIsSigned, dead),
        *(purge(), purge()),
        st.builds(HoldIsPlacedWhileAPurgeRuns, around, org, word),
        st.builds(ClockJumps, st.sampled_from([-1, -48, 27, 24 * 30])),
        st.builds(ProcessStartsAnew),
        st.builds(BackupIsMade),
        st.builds(OlderDatabaseIsPutBack),
        st.builds(OlderKeyringIsPutBack),
    )
