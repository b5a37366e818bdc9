"""Audit of a shelf whose purge has begun: its steps against its entries, and its sets where its rows are gone.

`taken` comes from the entries of its slices, `kept` from those of what was carried over, `destroyed` from what the drop
counted; none is told from another.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select

from textkeep.archive.shelf import STATES, State
from textkeep.ledger import tree
from textkeep.ledger.log import Entry, moment
from textkeep.ledger.note import Checkpoint, Verifier, opened, parse
from textkeep.retention.audit.book import Book, check_leaves, sets
from textkeep.retention.audit.findings import Finding, Line
from textkeep.retention.counting.census import Census, counted, over_roots, places
from textkeep.retention.counting.recount import NOT_READ
from textkeep.retention.reports import facts as found
from textkeep.retention.reports.facts import PurgeRow
from textkeep.retention.reports.named import KINDS, indices, named
from textkeep.store.evidence import kept_papers, kept_slices
from textkeep.store.tables import batches, purges, slices

DECIDED: Final = STATES.index("committed")
DROPPED: Final = STATES.index("dropped")


class ClosedAudit:
    """One shelf whose purge has begun."""

    def __init__(self, connection: Connection, book: Book, state: State, keys: Sequence[Verifier]) -> None:
        self._connection = connection
        self._book = book
        self._state = state
        self._keys = keys
        self._steps = Line("purge", book.shelf)
        self._sets = Line("conservation", book.shelf)
        self._records = Line("quarantine", book.shelf)
        self._lost: set[int] = set()

    def findings(self) -> list[Finding]:
        """What was found."""
        purge: PurgeRow | None = None
        with self._steps.reading("its purge"):
            purge = self._read()
        if purge is not None:
            with self._steps.reading("its purge", self._book.last):
                self._check_steps(purge)
        census = None if purge is None else purge.facts.census
        told = [*self._steps.findings(f"its steps up to {self._state} are those that the ledger names")]
        if STATES.index(self._state) < DECIDED:
            return told
        said = records = ""
        with self._sets.reading("what was counted", self._book.last):
            said = self._weigh(census)
        if STATES.index(self._state) < DROPPED:
            return [*told, *self._sets.findings(f"decided: {said}")]
        with self._records.reading("what was counted", self._book.last):
            records = self._weigh_records(census)
        with self._sets.reading("what was dropped", self._book.last):
            self._dropped(purge)
        return [*told, *self._sets.findings(said), *self._records.findings(records)]

    def _read(self) -> PurgeRow | None:
        row = self._connection.execute(select(purges).where(purges.c.shelf == self._book.shelf)).one_or_none()
        if row is None:
            self._steps.fail("what its purge has found is not there", self._book.last)
            return None
        try:
            facts = msgspec.json.decode(row.facts, type=found.Facts)
        except msgspec.MsgspecError:
            self._steps.fail("what its purge has found cannot be read", self._book.last)
            return None
        read = msgspec.json.decode(msgspec.json.encode(facts))
        whole = _part_of(msgspec.json.decode(row.facts), read)
        self._steps.demand(whole, "what its purge has found is not as the service writes it", self._book.last)
        return PurgeRow(row.shelf, row.number, row.attempt, facts, row.opened_at, row.closed_at)

    def _check_steps(self, purge: PurgeRow) -> None:
        line, steps, facts = self._steps, self._book.steps, purge.facts
        intent = steps.get("intent")
        for kind, entry in steps.items():
            if kind != "erased":
                line.demand(entry.body["purge"] == purge.number, "it is of another purge", entry)
        if intent is not None:
            line.demand(moment(purge.opened_at) == moment(intent.made_at), "it was opened at another time", intent)
            said = {"cutoff": facts.cutoff, "clocks": facts.clocks}
            line.demand({name: intent.body[name] for name in said} == said, "other clocks told its age", intent)
        for step, at in facts.at.items():
            of_step = steps.get(KINDS.get(step, ""))
            on_time = of_step is None or at == moment(of_step.made_at)
            line.demand(on_time, f"step {step} was at another time", of_step)
        self._check_state(facts.at)
        self._check_signed(purge)
        self._check_purge_entry(purge)

    def _check_state(self, at: Mapping[str, str]) -> None:
        done = [state for state in STATES if state in at]
        back = self._state == "intent" and "committed" not in at
        self._steps.demand(back or done[-1:] == [self._state], f"it is called {self._state}", self._book.last)
        times = [at[state] for state in done]
        self._steps.demand(back or times == sorted(times), "its steps are not in their order", self._book.last)

    def _check_signed(self, purge: PurgeRow) -> None:
        """Places and checkpoints that its facts name; those that were signed stay."""
        facts, last = purge.facts, self._book.last
        if facts.indices:
            now = indices(named(self._connection, purge))
            self._steps.demand(facts.indices == now, "an entry is noted in another place", last)
        if facts.census is not None and facts.census.places:
            there = places(counted(self._connection, self._book.shelf, signed=True))
            told = {name: spans for name, spans in facts.census.places.items() if name != "refusals"}
            now_there = {name: spans for name, spans in there.items() if name != "refusals"}
            self._steps.demand(told == now_there, "it counted entries in other places", last)
        for step, checkpoint in facts.checkpoints.items():
            note = parse(checkpoint.note.encode())
            opened(note, self._keys)
            said = Checkpoint.parse(note.text)
            entry = self._book.steps.get(KINDS.get(step, ""))
            inside = entry is None or step == "reported" or (entry.index or 0) < said.size
            self._steps.demand(
                said.size == checkpoint.size and inside, f"the checkpoint of step {step} is another one", entry
            )

    def _check_purge_entry(self, purge: PurgeRow) -> None:
        entry, destroyed = self._book.steps.get("purge"), self._book.steps.get("key-destroyed")
        if entry is not None:
            self._steps.demand(entry.body["attempt"] == purge.attempt, "the report is of another attempt", entry)
        if destroyed is not None:
            body, facts = destroyed.body, purge.facts
            ring = None if facts.ring_after is None else (facts.ring_after.generation, facts.ring_after.root)
            self._steps.demand(
                (body["commitment"], (body["generation"], body["root"])) == (facts.secret, ring),
                "the secret or the ring after it is another one",
                destroyed,
            )
            committed = self._book.steps.get("committed")
            told = None if committed is None else committed.index
            self._steps.demand(body["committed"] in (None, told), "another decision destroyed its secret", destroyed)

    def _kept(self) -> dict[int, set[bytes]]:
        """What was carried over, by the slice it came from."""
        kept: dict[int, set[bytes]] = {}
        for number, entries in self._book.carried.items():
            for entry, members in sets(self._connection, entries, self._sets):
                self._sets.demand(number in self._book.slices, "it was carried over from a slice that is none", entry)
                kept.setdefault(number, set()).update(members)
        return kept

    def _weigh(self, census: Census | None) -> str:
        """taken = kept + destroyed + lost, as sets, against what was decided."""
        book, committed = self._book, self._book.steps.get("committed")
        check_leaves(self._connection, book, self._sets)
        if committed is None or census is None:
            self._sets.fail("nothing says what was decided", book.last)
            return ""
        differing = {int(each.slice, 16): each for each in census.differing}
        self._lost = {n for n, each in differing.items() if n in book.slices and each.found_root != each.taken_root}
        at_decision = {n for n in self._lost if differing[n].found_root != NOT_READ}
        kept = self._kept()
        whole_texts = sum(int(entry.body.get("texts", 0)) for entry in book.carried_parts)
        taken = destroyed = lost = kept_number = 0
        gone, kept_roots = [], []
        decided_destroyed = decided_lost = 0
        for entry, members in sets(self._connection, book.slices.values(), self._sets):
            number = int(entry.body["slice"], 16)
            carried = kept.get(number, set())
            strange = len(carried - set(members))
            self._sets.demand(not strange, f"{strange} texts were carried over from it that it did not have", entry)
            rest = set(members) - carried
            taken, kept_number = taken + len(members), kept_number + len(carried)
            destroyed, lost = (destroyed, lost + len(rest)) if number in self._lost else (destroyed + len(rest), lost)
            if number in at_decision:
                decided_lost += len(rest)
            else:
                decided_destroyed += len(rest)
                gone += [tree.root_of_set(list(rest)).hex()] if rest else []
            kept_roots += [tree.root_of_set(list(carried)).hex()] if carried else []
        body = committed.body
        roots = [entry.body["root"] for entry in book.slices.values()]
        exact = {"taken": taken, "taken_root": over_roots(roots), "quarantined": book.quarantined}
        by_set = {"kept": kept_number, "destroyed": decided_destroyed, "lost": decided_lost}
        by_set_roots = {"kept_root": over_roots(kept_roots), "destroyed_root": over_roots(gone)}
        self._same(exact, body, committed)
        if whole_texts:
            said = f"{whole_texts} texts were carried over undecided: of which slice each was lies sealed"
            self._sets.doubt(said, book.carried_parts[0])
        else:
            self._same({**by_set, **by_set_roots}, body, committed)
            final = {"taken": taken, "kept": kept_number, "destroyed": destroyed, "lost": lost}
            self._same(final, msgspec.to_builtins(census), committed)
        self._organisations(census, committed)
        if lost:
            named = ", ".join(f"{each:016x}" for each in sorted(self._lost)[:10])
            self._sets.fail(f"taken {taken}: {lost} are lost, of slices {named}", committed)
        return f"taken {taken} = alive 0 + kept {kept_number} + destroyed {destroyed} + lost {lost}"

    def _same(self, wanted: Mapping[str, object], there: Mapping[str, Any], entry: Entry) -> None:
        for name, value in wanted.items():
            if there[name] != value:
                self._sets.fail(f"{name} is {value} by the ledger's sets, and {there[name]} was decided", entry)

    def _organisations(self, census: Census, committed: Entry) -> None:
        """The organisations' totals, from entries, against the census."""
        taken: Counter[tuple[str, int]] = Counter()
        for entry in self._book.slices.values():
            for org, numbers in entry.body["orgs"].items():
                for at in (0, 1):
                    taken[org, at] += numbers[at]
        there = Counter(
            {(each.org, at): (each.taken_texts, each.taken_versions)[at] for each in census.orgs for at in (0, 1)}
        )
        self._sets.demand(+taken == +there, "organisations have other totals than their entries", committed)
        kept: Counter[str] = Counter()
        for entries in self._book.carried.values():
            for entry in entries:
                kept.update({org: sum(numbers) for org, numbers in entry.body["orgs"].items()})
        for each in census.orgs:
            if each.kept is None or each.destroyed is None or each.lost is None:
                continue
            whole = each.kept + each.destroyed + each.lost == each.taken_texts + each.taken_versions
            same = each.kept == kept[each.org] or bool(self._book.carried_parts)
            self._sets.demand(
                whole and same, f"organisation {each.org}: taken is not kept + destroyed + lost", committed
            )
        self._sets.demand(
            sum(each.found for each in census.orgs) == census.found, "organisations do not add up", committed
        )

    def _weigh_records(self, census: Census | None) -> str:
        """quarantined = returned + kept + destroyed, as sets."""
        book = self._book
        taken: set[bytes] = set()
        for _, members in sets(self._connection, book.parts.values(), self._records):
            taken.update(members)
        back = set()
        for entry in book.returned:
            one = bytes.fromhex(entry.body["leaf"])
            self._records.demand(one in taken and one not in back, "it was never set aside here", entry)
            back.add(one)
        kept: set[bytes] = set()
        undecided = 0
        for entry, members in sets(self._connection, book.carried_parts, self._records):
            kept.update(members)
            undecided += int(entry.body["undecided"])
        strange = len(kept - (taken - back))
        if strange > undecided:
            self._records.fail(f"{strange} records were carried over that were not in quarantine", book.last)
        inside = len(kept & (taken - back))
        destroyed = len(taken) - len(back) - inside
        if census is not None:
            there = len(taken) - len(back)
            found_there = census.quarantine_found
            self._records.demand(
                found_there == there, f"{there} records were to go, {found_there} were there", book.last
            )
            said = (census.quarantined, census.returned)
            self._records.demand(said == (book.quarantined, len(back)), "other numbers were counted", book.last)
        return (
            f"quarantined {book.quarantined} = waiting 0 + returned {len(back)} + kept {inside} + destroyed {destroyed}"
        )

    def _dropped(self, purge: PurgeRow | None) -> None:
        """Nothing of it is left, and what was dropped is what was decided."""
        shelf = self._book.shelf
        counts = [
            select(func.count()).select_from(table).where(table.c.shelf == shelf).scalar_subquery().label(table.name)
            for table in (slices, batches, kept_slices, kept_papers)
        ]
        for name, left in self._connection.execute(select(*counts)).one()._mapping.items():
            self._sets.demand(not left, f"{left} rows of it are left in {name}", self._book.last)
        census = None if purge is None else purge.facts.census
        gone = None if purge is None else purge.facts.rows_dropped
        if census is None or gone is None:
            self._sets.doubt("what the drop counted is not on record", self._book.last)
            return
        recounted = {n for n in self._lost if self._not_read(census, n)} or census.strays
        if not recounted:
            wanted_rows = {"texts": census.found, "papers": sum(census.papers.values())}
            for name, number in wanted_rows.items():
                self._sets.demand(
                    gone[name] == number, f"{gone[name]} {name} were dropped, and {number} counted", self._book.last
                )

    def _not_read(self, census: Census, number: int) -> bool:
        return any(int(each.slice, 16) == number and each.found_root == NOT_READ for each in census.differing)


def check_carried(kept: Collection[str], known: Collection[str], line: Line) -> None:
    """Whether everything that was carried over came from a shelf that there was."""
    for shelf in sorted(set(kept) - set(known)):
        line.fail(f"something was carried over from {shelf}, and there is no such shelf")


def _part_of(written: Any, read: Any) -> bool:
    """Whether everything that was written was read; what this version writes besides may be missing."""
    if isinstance(written, dict) and isinstance(read, dict):
        return all(name in read and _part_of(each, read[name]) for name, each in written.items())
    if isinstance(written, list) and isinstance(read, list):
        return len(written) == len(read) and all(map(_part_of, written, read))
    return type(written) is type(read) and written == read
