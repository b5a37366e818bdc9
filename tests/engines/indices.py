"""A prefix of its own in an OpenSearch for a test, and nothing of it left afterwards."""

import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx

SECONDS = 60
"""How long a node may take to remove indices on a busy machine."""

AT_ONCE = 50
"""Indices removed with one request: their names travel in its first line, of 4 KiB at most."""


@contextmanager
def prefixed(address: str) -> Iterator[str]:
    """The address with a prefix that no other test has (`http://host:port/PREFIX?...`)."""
    parts = urlsplit(address)
    prefix = f"textkeep{secrets.token_hex(6)}"
    try:
        yield parts._replace(path=f"/{prefix}").geturl()
    finally:
        with client(address) as nodes:
            _remove(nodes, prefix)


def client(address: str) -> httpx.Client:
    """For requests to the first node that an address names, as its user, trusting whom it says."""
    parts = urlsplit(address)
    login, _, hosts = parts.netloc.rpartition("@")
    ca = parse_qs(parts.query).get("ca")
    user, _, password = login.partition(":")
    return httpx.Client(
        base_url=f"{parts.scheme}://{hosts.split(',')[0]}",
        auth=(user, password) if login else None,
        verify=ssl.create_default_context(cafile=ca[0]) if ca else True,
        timeout=SECONDS,
    )


def _remove(nodes: httpx.Client, prefix: str) -> None:
    told = nodes.get(f"/_cat/indices/{prefix}*", params={"format": "json", "h": "index", "expand_wildcards": "all"})
    names = [str(each["index"]) for each in told.raise_for_status().json()]
    for start in range(0, len(names), AT_ONCE):
        gone = nodes.delete(f"/{','.join(names[start : start + AT_ONCE])}", params={"ignore_unavailable": "true"})
        gone.raise_for_status()
    for kind in ("_index_template", "_component_template", "_template"):
        found = nodes.get(f"/{kind}/{prefix}*")
        if found.status_code == httpx.codes.OK:
            nodes.delete(f"/{kind}/{prefix}*").raise_for_status()
