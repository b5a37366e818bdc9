"""Every way in which a text or a quarantined record can end is in one list, and asks the holds first.

A hold that stopped three of four ways of deleting was the fault of another archive (areev #278). So the source of the
whole package is walked: what deletes, drops or destroys stands here by name, with what it reaches, or this fails.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

import textkeep
from tests.housing import House
from textkeep.archive.keyring import shelf_secret
from textkeep.archive.permit import Permit
from textkeep.archive.shelf import STATES
from textkeep.errors import Conflict
from textkeep.retention.holds.in_force import NoHolds
from textkeep.retention.purging.destruction import PATHS, Destruction, never_restored

PACKAGE = Path(textkeep.__file__).parent

DESTROYERS = {
    "retention/purging/destruction.py": {"keyring.destroy", "Permit"},
    "retention/purging/dropping.py": {"drop_shelf_tables", "delete(table)"},
    "retention/purging/absence.py": {"drop_tables"},
    "archive/papers.py": {"delete(table)"},
}
"""What can reach a text or a quarantined record: only with a permit. `Papers.remove` reaches vocabulary alone."""

HARMLESS_DELETES = {
    "retention/notes.py": {"notes"},
    "retention/approvals/approvals.py": {"approvals"},
    "retention/holds/holding.py": {"holds"},
    "directory/directory.py": {"rows"},
    "access/tokens.py": {"sides"},
    "ledger/checkpoints.py": {"checkpoints"},
    "store/leases.py": {"leases"},
    "archive/nodes.py": {"nodes"},
    "search/reconciling.py": {"coverage"},
}
"""Rows that hold no text: by module, the tables."""

SQL = re.compile(r"\b(DROP\s+TABLE|DROP\s+INDEX|DELETE\s+FROM|TRUNCATE\s+\w+)\b", re.IGNORECASE)
RAW_SQL = {
    "search/drivers/fts.py",
    "search/drivers/embedded.py",
    "store/postgres.py",
    "store/migrations/versions/0002_engines_that_grow.py",
}
"""The index, which can be made again; the function that drops a shelf's tables, which looks at its state itself."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


def calls(tree: ast.Module, name: str) -> list[ast.Call]:
    """The calls of something of that name, bare or as an attribute."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if (isinstance(called, ast.Name) and called.id == name) or (
                isinstance(called, ast.Attribute) and called.attr == name
            ):
                found.append(node)
    return found


def is_imported(tree: ast.Module, name: str, module: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and node.module == module and any(each.name == name for each in node.names)
        for node in ast.walk(tree)
    )


def test_no_row_is_deleted_but_where_it_is_listed() -> None:
    found: dict[str, set[str]] = {}
    for name, tree in modules():
        if is_imported(tree, "delete", "sqlalchemy"):
            found[name] = {ast.unparse(call.args[0]) for call in calls(tree, "delete")}
    listed = {name: {"table"} for name, what in DESTROYERS.items() if "delete(table)" in what} | HARMLESS_DELETES
    assert found == listed


def test_no_statement_drops_or_deletes_but_where_it_is_listed() -> None:
    found = set()
    for name, tree in modules():
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            said = node.value if isinstance(node, ast.Constant) and id(node) not in docs else None
            if isinstance(said, str) and SQL.search(said):
                found.add(name)
        if calls(tree, "DropTable"):
            assert name == "store/tables.py"
    assert found <= RAW_SQL
    assert "search/drivers/fts.py" in found  # the walk sees such statements


@pytest.mark.parametrize(
    ("called", "where"),
    [
        ("destroy", {"retention/purging/destruction.py"}),
        ("drop_shelf_tables", {"retention/purging/dropping.py"}),
        ("drop_tables", {"retention/purging/dropping.py", "retention/purging/absence.py"}),
        ("take_out", {"ingest/returning.py"}),
        ("Permit", {"retention/purging/destruction.py"}),
        ("drop_all", set()),
    ],
)
def test_what_destroys_is_called_only_from_where_it_asks_for_a_permit(called: str, where: set[str]) -> None:
    found = {name for name, tree in modules() if calls(tree, called)}
    found -= {"archive/drivers/root_pkcs11.py", "archive/drivers/root_aws.py"}  # `destroy` of a root's own object
    assert found == where


def test_every_way_that_asks_for_a_permit_is_in_the_list() -> None:
    asked = set()
    for _, tree in modules():
        for call in calls(tree, "permit"):
            if len(call.args) == 3 and isinstance(call.args[1], ast.Constant):
                asked.add(call.args[1].value)
    assert asked <= set(PATHS)
    assert "found-again" in asked


def test_a_shelf_before_its_point_of_no_return_gets_no_permit(house: House) -> None:
    destruction = Destruction(house.shelves, house.keyring, NoHolds(), never_restored)
    with house.store.transaction() as connection:
        for state in STATES[: STATES.index("committed")]:
            house.shelves.set_state(connection, "2025-10-18", state)
            with pytest.raises(Conflict):
                destruction.permit(connection, "day-purge", "2025-10-18")
            with pytest.raises(Conflict):
                destruction.permit(connection, "found-again", "2025-10-18")
        house.shelves.set_state(connection, "2025-10-18", "committed")
        assert destruction.permit(connection, "day-purge", "2025-10-18") == Permit("day-purge", "2025-10-18")


def test_no_secret_is_shredded_before_the_point_of_no_return(house: House) -> None:
    destruction = Destruction(house.shelves, house.keyring, NoHolds(), never_restored)
    with pytest.raises(Conflict):
        destruction.shred(house.store.transaction, "2025-10-18", entry="1", now=house.clock())
    assert house.keyring.has(shelf_secret("2025-10-18"))


def test_a_record_that_a_hold_covers_is_not_taken_out_of_the_quarantine(house: House) -> None:
    destruction = Destruction(house.shelves, house.keyring, NoHolds(), never_restored)
    with house.store.transaction() as connection:
        with pytest.raises(Conflict, match="legal hold"):
            destruction.permit_return(connection, "2026-11-20", lambda _: True)
        permit = destruction.permit_return(connection, "2026-11-20", lambda _: False)
        with pytest.raises(ValueError, match="another shelf"):
            house.papers.take_out(connection, "2026-11-21", bytes(16), permit)


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_the_database_itself_drops_no_table_of_a_shelf_of_held_texts_whose_secret_is_there(house: House) -> None:
    shelf = house.shelves.ensure_kept(bytes(8), house.clock())
    with pytest.raises(IntegrityError), house.store.transaction() as connection:
        connection.execute(select(func.textkeep_drop_shelf(shelf)))
