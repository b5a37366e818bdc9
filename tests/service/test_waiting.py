"""Waiting for engines at a start, and the small things that are done every second."""

import threading
import time
from collections.abc import Callable

import pytest

from textkeep.errors import Outage, Unsound
from textkeep.service.folder import Held
from textkeep.service.parts import Beating
from textkeep.service.probing import Probe
from textkeep.service.waiting import patiently


class Engine:
    """Answers after it was asked some times."""

    def __init__(self, silent: int, error: Callable[[str], Exception] = Outage) -> None:
        self.asked = 0
        self._silent = silent
        self._error = error

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self._silent:
            raise self._error("no answer")
        return "here"


class Pauses:
    """Puts down how long each pause is to be, and ends waiting after `most` of them; waits only where it is told to."""

    def __init__(self, most: int = 1000, *, really: bool = False) -> None:
        self.seconds: list[float] = []
        self._most = most
        self._really = really

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        if self._really:
            time.sleep(seconds)
        return len(self.seconds) == self._most


def at_once(_seconds: float) -> bool:
    return False


def test_an_engine_that_comes_later_is_waited_for() -> None:
    engine = Engine(silent=5)
    assert patiently(engine, at_once) == "here"
    assert engine.asked == 6


def test_pauses_grow_and_none_is_longer_than_what_is_left() -> None:
    pauses = Pauses()
    patiently(Engine(silent=6), pauses)
    assert pauses.seconds == sorted(pauses.seconds)
    assert pauses.seconds[0] < pauses.seconds[-1]
    short = Pauses(most=3)
    with pytest.raises(Outage):
        patiently(Engine(silent=1000), short, seconds=0.1)
    assert max(short.seconds) <= 0.1


def test_waiting_has_an_end() -> None:
    engine = Engine(silent=1000)
    with pytest.raises(Outage):
        patiently(engine, Pauses(really=True), seconds=0.01)
    assert 1 < engine.asked < 1000


def test_a_process_that_is_told_to_end_waits_no_longer() -> None:
    engine = Engine(silent=1000)
    with pytest.raises(Outage):
        patiently(engine, lambda _: True)
    assert engine.asked == 1


@pytest.mark.parametrize("error", [Unsound, Held])
def test_what_waiting_does_not_mend_is_told_at_once(error: type[Exception]) -> None:
    engine = Engine(silent=1000, error=error)
    with pytest.raises(error):
        patiently(engine, at_once)
    assert engine.asked == 1


def test_a_heart_that_stumbles_is_put_down_once_and_beats_on(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(silent=3)
    heart = Beating(engine)
    for _ in range(6):
        heart.beat()
    assert engine.asked == 6
    said = "".join(capsys.readouterr())
    assert said.count("stumbles") == 1
    assert said.count("beats again") == 1


def test_a_heart_beats_until_it_is_stopped() -> None:
    engine = Engine(silent=0)
    heart = Beating(engine, every=0.001)
    heart.start()
    until = time.monotonic() + 60
    while engine.asked < 3 and time.monotonic() < until:
        time.sleep(0.001)
    heart.stop()
    before = engine.asked
    assert before >= 3
    assert not [thread for thread in threading.enumerate() if thread.name == "heart"]


def test_an_engine_that_hangs_is_not_waited_for_and_asked_once() -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def hang() -> None:
        asked.release()
        answer.wait()

    probe = Probe(hang, seconds=0.05)
    assert "not answered" in (probe.why_not() or "")
    assert "not answered" in (probe.why_not() or "")
    assert asked.acquire(blocking=False)
    assert not asked.acquire(blocking=False)
    answer.set()
    patient = Probe(hang, seconds=60)
    assert patient.why_not() is None


def test_a_probe_tells_what_an_engine_said_last() -> None:
    engine = Engine(silent=1)
    probe = Probe(engine, seconds=60)
    assert probe.why_not() == "no answer"
    assert probe.why_not() is None
