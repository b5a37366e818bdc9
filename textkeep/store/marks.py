"""What marks the rows that the service writes itself; carried by a store's connections, so that nobody hands it on.

Format 1 of an entry's mark: HMAC-SHA-256 of "textkeep-entry-v1" || the entry's bytes.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

OPTION: Final = "textkeep_marks"
"""The execution option under which connections carry it."""

ENTRY: Final = b"textkeep-entry-v1"


@dataclass(frozen=True, slots=True)
class Marks:
    """`mac` is HMAC-SHA-256 under a key that MUST NOT lie in the database.

    `before` gives how many entries were there before there were marks: they come first in the log, and need none.
    """

    mac: Callable[[bytes], bytes]
    before: Callable[[], int] = lambda: 0

    def of_entry(self, entry: str) -> bytes:
        """The mark of a ledger entry. Raises what `mac` raises."""
        return self.mac(ENTRY + entry.encode())

    def wrote(self, entry: str, mark: object) -> bool:
        """Whether an entry has the right mark, found out in constant time."""
        return isinstance(mark, bytes) and hmac.compare_digest(mark, self.of_entry(entry))


def carried(connection: Connection) -> Marks | None:
    """What a connection carries; None where nothing is marked."""
    found = connection.get_execution_options().get(OPTION)
    return found if isinstance(found, Marks) else None
