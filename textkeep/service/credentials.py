"""The marks by which an archive knows what it wrote itself: rows of tokens, and ledger entries that wait to be signed.

What was there before there were marks is taken as it stands, once.
"""

from contextlib import suppress
from typing import Any, Final

import msgspec
import rfc8785
from sqlalchemy import func, select

from textkeep.access.tokens import Tokens
from textkeep.archive.handles import Persons
from textkeep.archive.keyring import Changed, Keyring
from textkeep.archive.marking import MARKS, marking
from textkeep.clock import Clock
from textkeep.ledger import log
from textkeep.ledger.state import DOCUMENT as SIGNED
from textkeep.store import advisory
from textkeep.store.demo import is_demo
from textkeep.store.engine import Store
from textkeep.store.marks import Marks
from textkeep.store.tables import ledger_entries

TOKEN: Final = "token"  # noqa: S105 - a kind of entry


def tokens_of(store: Store, persons: Persons, keyring: Keyring, clock: Clock) -> Tokens:
    """The tokens of an archive, whose rows are marked by its keyring, and whose changes go into its ledger."""
    return Tokens(
        store,
        persons,
        clock,
        lambda connection, body: log.append(connection, TOKEN, body, now=clock()),
        marking(keyring),
        demo=is_demo,
    )


def entry_marks(keyring: Keyring) -> Marks:
    """How the entries of an archive are marked by its keyring."""

    def before() -> int:
        document = keyring.documents.read(MARKS)
        return 0 if document is None else int(msgspec.json.decode(document)["entries"])

    return Marks(marking(keyring), before)


def mark_earlier(tokens: Tokens, store: Store, keyring: Keyring, clock: Clock) -> int:
    """Mark the tokens of an archive from before there were marks, and give how many; once in its life.

    Entries cannot be changed: how many there were is noted, and so many from the first one on need no mark.

    The keyring's store says that it was done, or that anything was ever signed; then no row without a mark gets one
    any more. How many were marked is on record in the ledger. Raises Outage where one of the two does not answer.
    """
    documents = keyring.documents
    if documents.read(MARKS) is not None or documents.read(SIGNED) is not None:
        return 0
    now = clock()
    with store.transaction() as connection:
        advisory.hold(connection, MARKS)
        earlier = select(func.count()).select_from(ledger_entries).where(ledger_entries.c.mark.is_(None))
        entries = int(connection.execute(earlier).scalar_one())
        number = tokens.mark_earlier(connection)
        if number:
            log.append(connection, TOKEN, {"did": "marked", "count": number}, now=now)
    done: dict[str, Any] = {"v": 1, "at": log.moment(now), "tokens": number, "entries": entries}
    with suppress(Changed):  # another process was quicker
        documents.swap(MARKS, None, rfc8785.dumps(done))
    return number
