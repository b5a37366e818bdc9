"""How an audit ends where it cannot go on: with an error, never with `pass`; and what receipts and tokens it knows."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select, text, update

from tests.housing import House
from tests.retention.audited import auditing, tokens
from tests.retention.keeping import Keeping
from tests.retention.purging import OLDEST
from tests.retention.test_audit import said, watched
from textkeep.errors import Outage
from textkeep.retention.audit.audit import Audit, Finding
from textkeep.service.audit_http import told
from textkeep.store.engine import Store
from textkeep.store.tables import batches, ledger_entries
from textkeep.store.tables import tokens as token_rows

DAY = OLDEST.plus(20)


@pytest.mark.parametrize("house", ["sqlite", "postgresql"], indirect=True)
def test_an_audit_that_is_interrupted_shows_nothing(house: House, tmp_path: Path) -> None:
    def work(keeping: Keeping) -> None:
        keeping.take(DAY, "lunch")
        audit = auditing(house, tmp_path)
        under_way = audit.each()
        next(under_way)
        audit.interrupt()
        with pytest.raises(Outage, match="interrupted"):
            list(under_way)
        with pytest.raises(Outage, match="interrupted"):
            audit.run(DAY.shelf)

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_a_database_that_goes_away_in_the_midst_is_an_error_and_no_verdict(house: House, tmp_path: Path) -> None:
    def work(keeping: Keeping) -> None:
        keeping.take(DAY, "lunch")
        under_way = auditing(house, tmp_path).each()
        assert any(each.name == "texts" for each in under_way)
        with out_of_reach(house.behind), pytest.raises(Outage):
            list(under_way)

    watched(house, tmp_path, work)


@contextmanager
def out_of_reach(store: Store) -> Iterator[None]:
    """Nobody is connected to a database, and nobody gets in."""
    url = store._writer.url
    closing = f"ALTER DATABASE {url.database} WITH ALLOW_CONNECTIONS"
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as owner:
        owner.exec_driver_sql(f"{closing} false")
        others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name"
        owner.execute(text(others), {"name": url.database})
        try:
            yield
        finally:
            owner.exec_driver_sql(f"{closing} true")
    engine.dispose()


class Slow(Audit):
    """An audit that does not come to its end by itself."""

    def run(self, _shelf: str | None = None) -> list[Finding]:
        assert self._leaving.wait(60)
        self.ended = threading.current_thread().name
        raise Outage("the audit was interrupted")


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_an_audit_ends_when_nobody_listens_any_more(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textkeep.service.audit_http.TICK", 0.01)
    audit = auditing(house, tmp_path)
    audit.__class__ = Slow
    listening = told(audit, None)
    assert next(listening) == b" "
    listening.close()  # type: ignore[attr-defined]
    assert getattr(audit, "ended", "").startswith("audit")


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_an_audit_that_cannot_go_on_answers_with_a_problem_and_without_a_finding(house: House, tmp_path: Path) -> None:
    audit = auditing(house, tmp_path)
    audit.interrupt()
    document = json.loads(b"".join(told(audit, None)))
    assert document.keys() == {"problem"}
    assert document["problem"]["status"] == 503


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_duplicates_are_in_the_entry_of_what_they_came_with_and_a_batch_of_nothing_else_has_none(
    house: House, tmp_path: Path
) -> None:
    def work(keeping: Keeping) -> None:
        keeping.take(DAY, "lunch")
        keeping.numbers -= 1
        keeping.take(DAY, "lunch")
        assert keeping.purging.entries("refusals") == []
        keeping.numbers -= 1
        keeping.take(DAY, "lunch", "dinner")
        assert [entry.body.get("duplicates") for entry in keeping.purging.entries("slice")] == [None, 1]
        passed = [("pass", "3 batches have the counts and roots that their entries say")]
        assert said(auditing(house, tmp_path).run(), "receipts") == passed
        mixed = (batches.c.duplicates == 1, batches.c.accepted == 1)
        for altered in ({"duplicates": 2, "read": 3}, {"producer": b"somebody"}):
            with house.behind.transaction() as connection:
                row = dict(connection.execute(select(batches).where(*mixed)).one()._mapping)
                connection.execute(update(batches).where(batches.c.id == row["id"]).values(altered))
            assert said(auditing(house, tmp_path).run(), "receipts")[0][0] == "fail"
            with house.behind.transaction() as connection:
                connection.execute(update(batches).where(batches.c.id == row["id"]).values(row))
        with house.behind.transaction() as connection:
            connection.execute(insert(batches).values({**row, "id": "invented"}))
        assert said(auditing(house, tmp_path).run(), "receipts")[0][0] == "fail"

    watched(house, tmp_path, work)


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_what_entries_of_an_earlier_version_do_not_say_is_unknown(house: House, tmp_path: Path) -> None:
    """An archive goes on that was begun before entries named producers, duplicates and what a token is known by."""

    def work(keeping: Keeping) -> None:
        tokens(house)
        keeping.take(DAY, "lunch")
        keeping.numbers -= 1
        keeping.take(DAY, "lunch")
        with house.behind.transaction() as connection:
            for row in connection.execute(select(ledger_entries)).all():
                body = json.loads(row.entry)
                for member in ("hash", *(("producer", "received_at") if row.kind == "slice" else ())):
                    body.pop(member, None)
                before = json.dumps(body, sort_keys=True, separators=(",", ":"))
                connection.execute(update(ledger_entries).where(ledger_entries.c.seq == row.seq).values(entry=before))
        found = auditing(house, tmp_path).run()
        told_of = said(found, "receipts")
        assert told_of == [("unknown", "1 batches came before entries named the producer and counted duplicates")]
        verdicts = {verdict for verdict, _ in said(found, "tokens")}
        assert verdicts == {"unknown"}
        with house.behind.transaction() as connection:
            number = len(connection.execute(select(token_rows.c.id)).all())
        assert len(said(found, "tokens")) == number

    watched(house, tmp_path, work)
