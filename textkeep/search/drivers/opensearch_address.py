"""Where an OpenSearch index lies: `https://USER:PASSWORD@HOST:9200,HOST:9200/PREFIX?ca=FILE&password_file=FILE`. Pure
but for the files that it names."""

import re
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from textkeep.errors import Malformed

DEFAULT_PORT: Final = 9200
DEFAULT_PREFIX: Final = "textkeep"

MAX_PREFIX: Final = 40
"""Characters of a prefix: the names of many indices must fit into one request line of 4,096 bytes."""

_PREFIX: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_OPTIONS: Final = frozenset({"ca", "password_file"})
_FORM: Final = (
    "Write INDEX_URL as https://USER:PASSWORD@HOST:9200,HOST:9200/PREFIX?ca=FILE; docs/search.md describes it."
)


@dataclass(frozen=True, slots=True)
class Address:
    """The nodes of one cluster, how to reach them, and the prefix of our names in it. Shows no password."""

    nodes: tuple[tuple[str, int], ...]
    prefix: str = DEFAULT_PREFIX
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The address in a setting. Raises Malformed, which says what is wrong and quotes nothing of it.

        TLS with the certificate verified, by the system's authorities or those in `ca`; plain http is for nodes on
        this machine. `password_file` holds the password alone, or `USER:PASSWORD` where the URL names no user.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            raise _malformed("INDEX_URL is not a URL") from None
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
            raise _malformed("INDEX_URL is not an http or https URL")
        unknown = options.keys() - _OPTIONS
        if unknown or any(not value for value in options.values()):
            raise _malformed(f"INDEX_URL takes the options {', '.join(sorted(_OPTIONS))} only, each with a value")
        credentials, _, hosts = parts.netloc.rpartition("@")
        nodes = tuple(_node(each) for each in hosts.split(","))
        prefix = parts.path.strip("/") or DEFAULT_PREFIX
        if not _PREFIX.fullmatch(prefix) or len(prefix) > MAX_PREFIX:
            raise _malformed(f"the prefix in INDEX_URL is not lower-case letters, digits and -, {MAX_PREFIX} at most")
        user, password = _credentials(credentials, options.get("password_file"))
        return cls(nodes, prefix, _tls(parts.scheme, nodes, options.get("ca")), user, password)


def _node(written: str) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?", written)
    named = re.fullmatch(r"([^:\[\]]+)(?::(\d{1,5}))?", written)
    found = bracketed or named
    host, port = (found[1], int(found[2] or DEFAULT_PORT)) if found else ("", 0)
    if not host or not 0 < port < 65_536 or not (bracketed or _HOST.fullmatch(host)):
        raise _malformed("a node in INDEX_URL is not HOST or HOST:PORT")
    return host, port


def _credentials(written: str, password_file: str | None) -> tuple[str | None, str | None]:
    user, colon, password = (unquote(each) for each in written.partition(":"))
    if password_file is not None:
        if colon:
            raise _malformed("INDEX_URL names a password and a password_file")
        try:
            secret = Path(password_file).read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise _malformed("the password_file in INDEX_URL cannot be read") from None
        user, _, password = (user, "", secret) if user else secret.partition(":")
    if not user and not password:
        return None, None
    if not user or not password or ":" in user:
        raise _malformed("INDEX_URL names a user without a password, or a password without a user")
    return user, password


def _tls(scheme: str, nodes: tuple[tuple[str, int], ...], ca: str | None) -> ssl.SSLContext | None:
    if scheme == "http":
        if not all(_is_here(host) for host, _ in nodes):
            raise _malformed("plain http in INDEX_URL is for nodes on this machine only: use https")
        if ca is not None:
            raise _malformed("`ca` in INDEX_URL is for https")
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        raise _malformed("the file that `ca` in INDEX_URL names holds no certificate authority") from None


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _malformed(detail: str) -> Malformed:
    return Malformed(detail, field="INDEX_URL", remedy=_FORM)
