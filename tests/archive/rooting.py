"""Roots of every kind that the archive has drivers for, each over the real thing."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.drivers.roots import Use, in_token
from textkeep.archive.ring import Root

KINDS = ("local", "pkcs11", "aws")


@dataclass(frozen=True)
class Rooting:
    """Roots of one kind. `opened` gives the same roots again, as another process would have them."""

    kind: str
    opened: Callable[[str, Use], Root]
    keyring: str

    def ring(self) -> Root:
        """The roots of one keyring's ring."""
        return self.opened(self.keyring, "ring")

    def backup(self) -> Root:
        """Those of its backups."""
        return self.opened(self.keyring, "backup")

    def other(self) -> Root:
        """Those of another keyring."""
        return self.opened(self.keyring[::-1] + "00", "ring")


def rooting(request: pytest.FixtureRequest, kind: str, folder: Path) -> Rooting:
    """Roots of that kind, for one test: nobody else's are among them."""
    keyring = secrets.token_hex(8)
    if kind == "local":
        return Rooting(kind, lambda ring, use: LocalRoot(folder / ring / use), keyring)
    address: str = request.getfixturevalue("softhsm" if kind == "pkcs11" else "kms")

    def opened(ring: str, use: Use) -> Root:
        root = in_token(address, ring, use)
        assert root is not None
        return root

    return Rooting(kind, opened, keyring)
