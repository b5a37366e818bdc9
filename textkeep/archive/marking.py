"""Marks: what the service writes into rows that give power, so that it knows them again as its own."""

import hmac
from collections.abc import Callable
from typing import Final

from textkeep.archive.keyring import HOUSE_SHELF, Keyring
from textkeep.archive.text import HOUSE

MARKS: Final = "marks"
"""The document of the keyring's store which says that what was there before there were marks has got its own."""


def marking(keyring: Keyring) -> Callable[[bytes], bytes]:
    """HMAC-SHA-256 under the `mark` key of the house. What it marks MUST begin with a label of its own sort.

    What it gives raises Outage once the keyring's lease has run out.
    """
    return lambda message: hmac.digest(keyring.derive("mark", HOUSE_SHELF, HOUSE), message, "sha256")
