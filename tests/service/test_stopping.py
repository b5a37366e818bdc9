"""How a process learns that it is to end, whatever its main thread is doing in that moment."""

import signal

import pytest

from textkeep.service.commands.serving import stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heard_also_while_the_thread_that_waits_has_the_lock_of_what_it_waits_for(number: int) -> None:
    """A handler that took that lock would wait for ever, and so does this test then."""
    before = signal.getsignal(number)
    with stopping() as stop:
        assert not stop.is_set()
        with vars(stop)["_cond"]:
            signal.raise_signal(number)
        assert stop.wait()
        assert signal.getsignal(number) == before, "a second one ends the process at once"
    assert signal.getsignal(number) == before


def test_without_a_signal_nothing_is_set_and_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stopping() as stop:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert not stop.is_set()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
