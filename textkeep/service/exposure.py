"""Which addresses others can reach, and what protects what passes there. Pure."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from textkeep.errors import Malformed

LOOPBACK: Final = "127.0.0.1"
HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its key, PEM files."""

    certificate: Path
    key: Path


def loopback(host: str) -> bool:
    """Whether only this machine can reach that address. A name other than localhost counts as reachable by others."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def read(cls, written: str, setting: str) -> "Place":
        """A port (on the loopback address), or HOST:PORT. Raises Malformed."""
        host, separator, port = written.rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > HIGHEST_PORT or (separator and not host):
            raise Malformed("that is no port, and no HOST:PORT", field=setting)
        return cls(host.removeprefix("[").removesuffix("]") or LOOPBACK, int(port))
