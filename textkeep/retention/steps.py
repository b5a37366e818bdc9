"""The eight steps of a purge, in their order. Each does nothing where it has been done, and can be taken up again after
a crash at any point."""

from collections.abc import Callable, Mapping

from textkeep.archive.shelf import Day, State
from textkeep.errors import NotFound
from textkeep.retention.deciding import Deciding
from textkeep.retention.destroying import Destroying
from textkeep.retention.moving import Mover, Order

Step = Callable[[Day, Order], None]


class Steps:
    """Takes a day's purge from one step to the next."""

    def __init__(self, mover: Mover, deciding: Deciding, destroying: Destroying) -> None:
        self._mover = mover
        self._after: Mapping[State, Step] = {
            "open": deciding.intent,
            "intent": deciding.kept,
            "kept": deciding.witnessed,
            "witnessed": deciding.committed,
            "committed": destroying.shredded,
            "shredded": destroying.dropped,
            "dropped": destroying.verified,
            "verified": destroying.reported,
        }

    def state(self, day: Day) -> State:
        """How far a day is. Raises NotFound for a day that has no shelf."""
        state = self._mover.state(day)
        if state is None:
            raise NotFound("that day has no shelf")
        return state

    def advance(self, day: Day, order: Order) -> State:
        """Take a day's next step and give the state it is in then; a reported day stays reported."""
        step = self._after.get(self.state(day))
        if step is not None:
            step(day, order)
        return self.state(day)

    def resume(self, day: Day, order: Order) -> None:
        """Count another attempt at a day whose purge was cut off."""
        self._mover.resume(day, order.turn)
