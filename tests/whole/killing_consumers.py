"""A program that kills consumers: python -m tests.whole.killing_consumers, with a `Plan` as JSON on standard input.

It imports everything once and forks a child for each `textkeep consume`. Three of them read one topic; again and again
one is ended by SIGKILL and another one begun: half of the time while the group still sorts itself out after the one
before, else as soon as so much of the topic is stored. At the end the last three, once they run, are told to stop. What
happened is printed as JSON. A child that ends by itself ends everything, and its log is shown.
"""

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import psycopg

CONSUMERS: Final = 3

WITHIN: Final = 1.0
"""Seconds after a start within which half of the kills come."""

PATIENCE: Final = 900
"""Seconds without any progress after which everything is taken to hang."""

LOOK: Final = 0.05


@dataclass(frozen=True)
class Plan:
    """What is to be done: the settings of the children, and how often one is killed until `messages` are stored."""

    environment: dict[str, str]
    database: str
    messages: int
    kills: int
    seed: str
    logs: str


@dataclass
class Killing:
    """The children and what became of them."""

    plan: Plan
    chance: random.Random
    connection: "psycopg.Connection[Any]"
    children: list[int] = field(default_factory=list)
    begun: int = 0
    stored: int = 0
    killed_at: list[int] = field(default_factory=list)

    def go(self) -> dict[str, Any]:
        """Everything. Raises AssertionError where a child ends by itself, or does not end well."""
        began = time.monotonic()
        self.children = [self._begin() for _ in range(CONSUMERS)]
        for kill in range(self.plan.kills):
            if self.chance.random() < 0.5:
                time.sleep(self.chance.uniform(0, WITHIN))
            else:
                self._wait_for(self.plan.messages * (kill + 1) // (self.plan.kills + 1))
            self._look()
            self.killed_at.append(self.stored)
            self._kill(self.chance.randrange(CONSUMERS))
        self._wait_for(self.plan.messages)
        consumed = time.monotonic() - began
        self._wait_for_greetings()
        for child in self.children:
            os.kill(child, signal.SIGTERM)
        for child in self.children:
            _, status = os.waitpid(child, 0)
            assert status == 0, self._log(child)
        return {
            "kills": len(self.killed_at),
            "while_reading": sum(at < self.plan.messages for at in self.killed_at),
            "seconds": round(consumed, 1),
            "messages": self.stored,
        }

    def end(self) -> None:
        """Leave no child behind."""
        for child in self.children:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)

    def _wait_for(self, messages: int) -> None:
        last = time.monotonic()
        while self.stored < messages:
            before = self.stored
            self._look()
            if self.stored > before:
                last = time.monotonic()
            assert time.monotonic() < last + PATIENCE, f"nothing goes on at {self.stored} messages"
            time.sleep(LOOK)

    def _wait_for_greetings(self) -> None:
        """The last ones may have begun this moment: before a process has read its own code, SIGTERM just ends it."""
        last = time.monotonic()
        while not all(b'"kind"' in self._log_of(child).read_bytes() for child in self.children):
            self._look()
            assert time.monotonic() < last + PATIENCE, "a consumer does not begin"
            time.sleep(LOOK)

    def _look(self) -> None:
        found = self.connection.execute("SELECT coalesce(sum(next), 0) FROM offsets").fetchone()
        self.stored = int(found[0]) if found else 0
        for child in self.children:
            ended, status = os.waitpid(child, os.WNOHANG)
            assert not ended, f"a consumer ended by itself ({status}): {self._log(child)}"

    def _kill(self, which: int) -> None:
        os.kill(self.children[which], signal.SIGKILL)
        os.waitpid(self.children[which], 0)
        self.children[which] = self._begin()

    def _begin(self) -> int:
        self.begun += 1
        child = os.fork()
        self._log_of(child or os.getpid()).touch()
        if child == 0:
            self._live()
        return child

    def _live(self) -> NoReturn:
        """A child's whole life: the real command."""
        from textkeep.service.cli import main

        code = 1
        try:
            log = os.open(self._log_of(os.getpid()), os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.update(self.plan.environment)
            sys.argv = ["textkeep", "consume", "--json"]
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _log_of(self, child: int) -> Path:
        return Path(self.plan.logs) / f"{child}.log"

    def _log(self, child: int) -> str:
        return self._log_of(child).read_text("utf-8", "replace")[-4000:]


def main() -> None:
    """Do what standard input says."""
    import textkeep.search.drivers.opensearch
    import textkeep.service.consuming
    import textkeep.service.waiting  # noqa: F401

    plan = Plan(**json.loads(sys.stdin.read()))
    with psycopg.connect(plan.database, autocommit=True) as connection:
        killing = Killing(plan, random.Random(plan.seed), connection)
        try:
            print(json.dumps(killing.go()))
        except BaseException:
            print(f"seed {plan.seed!r}, {len(killing.killed_at)} kills, {killing.stored} stored", file=sys.stderr)
            raise
        finally:
            killing.end()


def written(plan: Plan) -> bytes:
    """A plan as the program reads it."""
    return json.dumps(asdict(plan)).encode()


if __name__ == "__main__":
    main()
