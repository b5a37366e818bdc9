"""An archive of before says, once migrated, on which side each of its tokens stands."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import IntegrityError

from tests.engines import need
from tests.engines.databases import fresh
from textkeep.store import schema
from textkeep.store.columns import Instant
from textkeep.store.engine import Store
from textkeep.store.evidence import sides
from textkeep.store.tables import tokens

ADA, GRACE, ALAN = (bytes([number]) * 8 for number in (1, 2, 3))
NOW = datetime.now(UTC)

INSERT = text(
    "INSERT INTO tokens (id, hash, person, roles, orgs, created_at, expires_at, revoked_at)"
    " VALUES (:id, :hash, :person, :roles, '*', :created, :expires, :revoked)"
).bindparams(*(bindparam(name, type_=Instant()) for name in ("created", "expires", "revoked")))


@pytest.fixture(params=["sqlite", "postgresql"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store whose tables are those of the version before there were sides."""
    if request.param == "sqlite":
        made = Store.open(f"sqlite:///{tmp_path / 'older.db'}")
        _to_0002(made)
        yield made
        made.close()
        return
    with fresh(need(request, "postgres").address) as database:
        made = Store.open(database.owner)
        _to_0002(made)
        yield made
        made.close()


def _to_0002(store: Store) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with store.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")


def hold(store: Store, name: str, person: bytes, roles: str, *, days: int = 30, revoked: bool = False) -> None:
    with store.transaction() as connection:
        connection.execute(
            INSERT,
            {
                "id": name,
                "hash": name.encode().ljust(32),
                "person": person,
                "roles": roles,
                "created": NOW - timedelta(days=100),
                "expires": NOW + timedelta(days=days),
                "revoked": NOW if revoked else None,
            },
        )


def test_live_tokens_take_the_side_of_their_roles_and_ended_ones_none(older: Store) -> None:
    hold(older, "t-1", ADA, "auditor officer")
    hold(older, "t-2", ADA, "producer")
    hold(older, "t-3", ADA, "approver", days=-1)
    hold(older, "t-4", GRACE, "approver")
    hold(older, "t-5", GRACE, "counsel", revoked=True)
    hold(older, "t-6", ALAN, "registrar")
    assert schema.migrate(older)
    with older.reading() as connection:
        found = {row.id: (row.side, row.revoked_at is not None) for row in connection.execute(select(tokens))}
        stand = {row.person: row.side for row in connection.execute(select(sides))}
    assert found == {
        "t-1": ("asks", False),
        "t-2": (None, False),
        "t-3": (None, True),
        "t-4": ("approves", False),
        "t-5": (None, True),
        "t-6": (None, False),
    }
    assert stand == {ADA: "asks", GRACE: "approves"}


def test_a_demo_of_before_keeps_its_person_of_every_role(older: Store) -> None:
    hold(older, "t-1", ADA, "approver officer")
    with older.transaction() as connection:
        connection.execute(text("INSERT INTO notes (name, value) VALUES ('demo', '{}')"))
    schema.migrate(older)
    with older.reading() as connection:
        assert connection.execute(select(sides.c.side)).scalar_one() == "both"


def test_where_somebody_is_on_both_sides_and_it_is_no_demo_nothing_is_migrated(older: Store) -> None:
    hold(older, "t-1", ADA, "approver officer")
    with pytest.raises(IntegrityError):
        schema.migrate(older)
    assert schema.version(older) == "0002"
