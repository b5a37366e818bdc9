"""Talking to an OpenSearch cluster: bounded in time, tried again where that may help, and quoting nothing.

Every request may be sent twice: what it does the second time is what it did the first.
"""

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import urllib3
from opensearchpy import ConnectionError as NoConnection
from opensearchpy import OpenSearch, Transport, Urllib3HttpConnection
from opensearchpy.exceptions import OpenSearchException, SerializationError, SSLError, TransportError
from opensearchpy.serializer import Serializer

from textkeep.search.drivers.opensearch_address import Address
from textkeep.search.drivers.opensearch_errors import Refused, Unreachable

CONNECT_SECONDS: Final = 5.0
"""How long a node may take to accept a connection."""

READ_SECONDS: Final = 20.0
"""How long a node may be silent before it counts as out of reach. A step of the follower waits that long."""

MAX_FURTHER: Final = 2
"""Further nodes that one request is sent to when it fails to reach the first."""

PATIENCE: Final = 5.0
"""Seconds over which a request is sent again to a cluster that is overloaded."""

FIRST_PAUSE: Final = 0.1
"""Seconds before the second attempt, at most; every further one waits up to twice as long."""

LONGEST_PAUSE: Final = 2.0

BULK_BYTES: Final = 6_000_000
"""Bytes of one bulk request, about; a proxy often takes no more than 10 MB."""

NAMES_AT_ONCE: Final = 40
"""Names that fit into one request line of 4,096 bytes."""

SEARCHES_AT_ONCE: Final = 32
"""Searches of one request that the cluster works on at a time. Left to itself a small node takes four, and idles."""

CONNECTIONS: Final = 16
"""Connections to a node that are kept."""

RESTING: Final = 5
"""Seconds for which a node that failed is not asked where there are others; doubled while it goes on failing."""

_chance: Final = random.SystemRandom()

Given = TypeVar("Given")


class _Json(Serializer):
    mimetype = "application/json"

    def loads(self, s: str) -> Any:
        try:
            return msgspec.json.decode(s)
        except msgspec.DecodeError:
            raise SerializationError("not JSON") from None

    def dumps(self, data: Any) -> Any:
        return data if isinstance(data, bytes) else msgspec.json.encode(data)


class _Quiet(Urllib3HttpConnection):
    """A connection that logs nothing and warns of nothing: requests and answers carry tokens."""

    def log_request_success(self, *_: Any, **__: Any) -> None: ...

    def log_request_fail(self, *_: Any, **__: Any) -> None: ...

    def _raise_warnings(self, warning_headers: Any) -> None: ...


class Cluster:
    """The nodes at an address. Everything raises Refused."""

    def __init__(self, address: Address) -> None:
        nodes = len(address.nodes)
        password = (address.user, address.password) if address.user else None
        self._client = OpenSearch(
            hosts=[{"host": host, "port": port} for host, port in address.nodes],
            connection_class=_Quiet,
            serializer=_Json(),
            http_auth=password,
            use_ssl=address.tls is not None,
            ssl_context=address.tls,
            pool_maxsize=CONNECTIONS,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            max_retries=min(max(nodes - 1, 1), MAX_FURTHER),
            retry_on_timeout=nodes > 1,
            retry_on_status=(),
            dead_timeout=RESTING,
        )

    def call(self, what: Callable[[OpenSearch], Given]) -> Given:
        """What is read from the answer to a request. It is sent again, later and later, while the cluster is only busy.

        An answer that cannot be read counts as none: something else than OpenSearch gave it.
        """
        until = time.monotonic() + PATIENCE
        pause = FIRST_PAUSE
        while True:
            try:
                return what(self._client)
            except OpenSearchException as exc:
                refused = _refused(exc)
            except Refused as exc:
                refused = exc
            except (LookupError, AttributeError, TypeError, ValueError):
                refused = _unreadable()
            wait = pause * _chance.uniform(0.5, 1)
            if not refused.busy or time.monotonic() + wait > until:
                # Not "from exc": the client's error holds the engine's words, and those may quote a document.
                raise refused from None
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    def bulk(self, documents: Iterable[tuple[str, bytes]]) -> None:
        """Write documents, each through an alias that must exist; Refused names it where it does not.

        Every item of every answer is read; those that were turned away for now are sent again.
        """
        for chunk in _chunks(documents):
            self.call(_Writing(chunk))

    def refresh(self, aliases: Collection[str]) -> None:
        """Make everything findable that was written through these aliases."""
        for names in in_parts(sorted(aliases)):
            self.call(partial(_refresh, ",".join(names)))

    def search(self, alias: str, body: Mapping[str, Any], read: Callable[[Any], Given]) -> Given:
        """What is read from the answer to one search, whole or not at all."""

        def send(client: OpenSearch) -> Given:
            params = {"allow_partial_search_results": "false", "filter_path": _SEARCHED}
            return read(_whole(client.search(index=alias, body=body, params=params)))

        return self.call(send)

    def searches(self, asked: Sequence[tuple[str, bytes]], read: Callable[[Any], Given]) -> list[Given]:
        """What is read from the answer to each search on its alias, in one request; whole or not at all."""
        body = b"".join(_HEAD % alias.encode("ascii") + wanted + b"\n" for alias, wanted in asked)

        def send(client: OpenSearch) -> list[Given]:
            params = {"filter_path": _EACH_SEARCHED, "max_concurrent_searches": str(SEARCHES_AT_ONCE)}
            responses = client.msearch(body=body, params=params)["responses"]
            return [read(_found(each, alias)) for each, (alias, _) in zip(responses, asked, strict=True)]

        return self.call(send)

    def listing(self, patterns: Sequence[str]) -> dict[str, frozenset[str]]:
        """Every index whose name, or alias, fits one of the patterns, open or closed, with its aliases."""
        found: dict[str, frozenset[str]] = {}
        for names in in_parts(patterns):
            found |= self.call(partial(_list, ",".join(names)))
        return found

    def close(self) -> None:
        """Close every connection, also those of nodes that failed."""
        transport: Transport = self._client.transport
        for connection, _ in transport.connection_pool.connection_opts:
            connection.close()


_TOO_MANY: Final = 429
_WRITTEN: Final = "errors,items.*.status,items.*.error"
_HEAD: Final = b'{"index":"%s","allow_partial_search_results":false}\n'
_SEARCHED: Final = "status,error,timed_out,_shards.failed,hits.hits.sort,aggregations"
_EACH_SEARCHED: Final = ",".join(f"responses.{part}" for part in _SEARCHED.split(","))


def in_parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Names, as many at once as a request line holds."""
    for at in range(0, len(names), NAMES_AT_ONCE):
        yield names[at : at + NAMES_AT_ONCE]


def _chunks(documents: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    size = 0
    for each in documents:
        if chunk and size + len(each[1]) > BULK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(each)
        size += len(each[1])
    if chunk:
        yield chunk


class _Writing:
    """A bulk request that is sent until every document of it is written."""

    def __init__(self, documents: Sequence[tuple[str, bytes]]) -> None:
        self._left = documents

    def __call__(self, client: OpenSearch) -> None:
        body = b"".join(line for _, line in self._left)
        items = client.bulk(body=body, params={"require_alias": "true", "filter_path": _WRITTEN})["items"]
        again = []
        for item, each in zip(items, self._left, strict=True):
            status, error = item["index"]["status"], item["index"].get("error")
            if 200 <= status < 300 and error is None:
                continue
            refused = Refused(status, error, index=each[0])
            if not refused.busy:
                raise refused
            again.append(each)
        self._left = again
        if again:
            raise Refused(_TOO_MANY)


def _refresh(names: str, client: OpenSearch) -> None:
    _whole(client.indices.refresh(index=names))


def _list(names: str, client: OpenSearch) -> dict[str, frozenset[str]]:
    answer = client.indices.get_alias(
        index=names, expand_wildcards="all", ignore_unavailable="true", allow_no_indices="true"
    )
    return {name: frozenset(each["aliases"]) for name, each in answer.items()}


def _found(response: Mapping[str, Any], alias: str) -> Any:
    if "error" in response or response.get("status") != 200:
        raise Refused(int(response.get("status", 500)), response.get("error"), index=alias)
    return _whole(response)


def _whole(answer: Any) -> Any:
    """An answer of which no shard is missing."""
    if answer.get("timed_out") or answer["_shards"]["failed"]:
        raise Refused(503)
    return answer


def _refused(exc: OpenSearchException) -> Refused:
    if isinstance(exc, SSLError):
        return Unreachable.not_trusted()
    if isinstance(exc, NoConnection):
        return Unreachable("the index does not answer")
    if isinstance(exc, TransportError) and isinstance(exc.status_code, int):
        return Refused(exc.status_code, exc.info if exc.info else exc.error)
    return _unreadable()


def _unreadable() -> Unreachable:
    return Unreachable("the index does not answer as OpenSearch does")
