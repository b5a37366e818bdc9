"""What Prometheus is told: counts of this process, and how the archive stands. Nothing personal.

A label is an outcome, a state, a kind of process, a part, an operation or the name of a problem: a word of this
program, never an organisation, a user, a number, a shelf or a token. What is read from the database is read at each
scrape; what this process counts starts at nothing with it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, case, func, select

from textkeep.archive.batch import Receipt
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import is_kept
from textkeep.errors import TextkeepError
from textkeep.ingest.door import Door
from textkeep.retention import policy
from textkeep.retention.purging import days
from textkeep.service.state import NODE_ALIVE, State
from textkeep.store.tables import coverage, nodes, runs, shelves, slices

OUTCOMES = ("accepted", "versions", "duplicates", "quarantined", "refused")

disable_created_metrics()  # type: ignore[no-untyped-call]  # when this process began to count is nobody's question


class Metrics:
    """The registry of one process."""

    def __init__(self, state: State, door: Door, sealer: Sealer) -> None:
        self._registry = CollectorRegistry()
        self._taken = Counter(
            "textkeep_texts", "Records taken by this process, by outcome.", ["outcome"], registry=self._registry
        )
        self._errors = Counter(
            "textkeep_errors",
            "Answers of this process that were problems, by name.",
            ["problem"],
            registry=self._registry,
        )
        for outcome in OUTCOMES:
            self._taken.labels(outcome)
        self.register(_Process(door, sealer))
        self.register(_Archive(state))

    def took(self, receipts: Sequence[Receipt]) -> None:
        """Count what became of records, once they are stored."""
        for outcome in OUTCOMES:
            count = sum(getattr(receipt, outcome) for receipt in receipts)
            if count:
                self._taken.labels(outcome).inc(count)

    def failed(self, error: TextkeepError) -> None:
        """Count a problem that was answered, or that kept work in the background from being done."""
        self._errors.labels(error.problem).inc()

    def register(self, collector: Collector) -> None:
        """Tell more at each scrape."""
        self._registry.register(collector)

    def render(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)


def router(metrics: Metrics) -> APIRouter:
    """`GET /metrics`, which needs no token: it tells counts only."""
    routes = APIRouter(tags=["health"])

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def show_metrics() -> Response:
        """Counts and states, for Prometheus."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return routes


class _Process(Collector):
    """What this process knows by itself."""

    def __init__(self, door: Door, sealer: Sealer) -> None:
        self._door = door
        self._sealer = sealer

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield _gauge("textkeep_build", "The version that runs.", 1, version=version("textkeep"))
        yield _gauge("textkeep_queue_records", "Records that wait for the writer.", self._door.waiting())
        yield _gauge("textkeep_queue_bytes", "Bytes of all requests that are being taken.", self._door.held_bytes())
        operations = CounterMetricFamily("textkeep_key_operations", "Uses of the keyring's keys.", labels=["operation"])
        for name, count in self._sealer.operations().items():
            operations.add_metric([name], count)
        yield operations


class _Archive(Collector):
    """How the archive stands, in one snapshot of its database; nothing but its silence where it does not answer."""

    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        told: list[Metric] = []
        try:
            engines_now = self._state.engines_now()
            with self._state.store.reading() as connection:
                for read in (self._index, self._coverage, self._days, self._runs):
                    told += read(connection)
                told += self._nodes(connection, engines_now)
            told += self._ledger()
        except TextkeepError:
            told = []
        yield _gauge("textkeep_database_up", "Whether the database answers.", bool(told))
        yield _gauge("textkeep_slices_damaged", "Slices with a text that does not open.", self._state.follower.damaged)
        yield from told

    def _index(self, connection: Connection) -> Iterator[Metric]:
        texts = func.sum(slices.c.accepted + slices.c.versions)
        waiting = connection.execute(
            select(texts, func.min(slices.c.received_at))
            .join(shelves, shelves.c.name == slices.c.shelf)
            .where(slices.c.indexed.is_(False), shelves.c.state == "open")
        ).one()
        lag = 0.0 if waiting[1] is None else (self._state.clock() - waiting[1]).total_seconds()
        yield _gauge("textkeep_unindexed_texts", "Texts that cannot be found yet.", int(waiting[0] or 0))
        yield _gauge("textkeep_index_lag_seconds", "How long the oldest of them has waited.", max(lag, 0.0))

    def _coverage(self, connection: Connection) -> Iterator[Metric]:
        names = ("expected", "found", "missing", "strays", "altered")
        columns = [func.coalesce(func.sum(coverage.c[name]), 0) for name in names]
        row = connection.execute(select(func.count(), func.min(coverage.c.at), *columns).select_from(coverage)).one()
        held = GaugeMetricFamily(
            "textkeep_coverage_texts", "What the index held of open shelves when they were compared.", labels=["found"]
        )
        for name, count in zip(names, row[2:], strict=True):
            held.add_metric([name], int(count))
        yield held
        yield _gauge("textkeep_coverage_shelves", "Shelves that were compared.", row[0])
        if row[1] is not None:
            age = (self._state.clock() - row[1]).total_seconds()
            yield _gauge("textkeep_coverage_age_seconds", "How long ago the oldest comparison was.", max(age, 0.0))

    def _days(self, connection: Connection) -> Iterator[Metric]:
        standing, now = days.standing(connection), self._state.clock()
        of_days = [each for each in standing if not is_kept(each.name)]
        yield _by_state("textkeep_days", "Days by state.", of_days)
        kept = [each for each in standing if is_kept(each.name)]
        yield _by_state("textkeep_kept_shelves", "Shelves of held texts by state.", kept)
        due, overdue = policy.due_days(standing, now), policy.overdue_days(standing, now)
        yield _gauge("textkeep_days_due", "Days whose 400 days are over and that are not closed.", len(due))
        yield _gauge("textkeep_days_overdue", "Those of them that are late by more than 24 hours.", len(overdue))
        age = (now - due[0].due()).total_seconds() if due else 0.0
        yield _gauge("textkeep_purge_age_seconds", "How long the oldest day that is due has been due.", max(age, 0.0))

    def _runs(self, connection: Connection) -> Iterator[Metric]:
        finished = case((runs.c.finished_at.is_not(None), runs.c.started_at))
        last = connection.execute(select(func.max(finished))).scalar_one_or_none()
        if last is not None:
            yield _gauge(
                "textkeep_purge_last_run_timestamp_seconds", "When the last purge run began.", last.timestamp()
            )

    def _ledger(self) -> Iterator[Metric]:
        found, now = self._state.ledger_stands(), self._state.clock()
        if isinstance(found, TextkeepError):  # the keyring's store is silent, or what is signed cannot be read
            return
        late = 0.0 if found.waiting_since is None else (now - found.waiting_since).total_seconds()
        yield _gauge("textkeep_ledger_waiting_entries", "Ledger entries that are not signed yet.", found.waiting)
        yield _gauge("textkeep_ledger_waiting_seconds", "How long the oldest of them has waited.", max(late, 0.0))
        yield _gauge("textkeep_ledger_refused", "Whether signing was refused.", found.refused is not None)
        if found.key_missing is not None:
            yield _gauge("textkeep_ledger_key_missing", "Whether the ledger's key is not there.", found.key_missing)
        if found.signed_at is not None:
            age = (now - found.signed_at).total_seconds()
            yield _gauge("textkeep_ledger_checkpoint_age_seconds", "How old the last checkpoint is.", max(age, 0.0))
        yield _gauge("textkeep_ledger_witnesses", "Witnesses that are set.", len(found.heard))
        if found.heard:
            silent = (now - min(found.heard.values())).total_seconds()
            what = "How long the most silent witness has not cosigned."
            yield _gauge("textkeep_ledger_witness_age_seconds", what, max(silent, 0.0))

    def _nodes(self, connection: Connection, now: datetime) -> Iterator[Metric]:
        alive = GaugeMetricFamily("textkeep_nodes", "Processes that are there, by kind.", labels=["kind"])
        found = select(nodes.c.kind, func.count()).where(nodes.c.seen_at > now - NODE_ALIVE)
        for kind, count in connection.execute(found.group_by(nodes.c.kind)):
            alive.add_metric([kind], count)
        yield alive


def _by_state(name: str, what: str, standing: Sequence[days.ShelfState]) -> GaugeMetricFamily:
    by_state = GaugeMetricFamily(name, what, labels=["state"])
    for state in sorted({each.state for each in standing} | {"open", "reported"}):
        by_state.add_metric([state], sum(each.state == state for each in standing))
    return by_state


def _gauge(name: str, what: str, value: float, **labels: str) -> GaugeMetricFamily:
    made = GaugeMetricFamily(name, what, labels=list(labels))
    made.add_metric(list(labels.values()), float(value))
    return made
