"""A real HTTP proxy in front of a real engine, which does to a request what a test tells it to."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

BUSY: Final = {"type": "circuit_breaking_exception", "reason": "[parent] Data too large"}
FLOODED: Final = {
    "type": "cluster_block_exception",
    "reason": "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has"
    " read-only-allow-delete block];",
}
MISFIT: Final = {"type": "mapper_parsing_exception", "reason": "failed to parse field [at] of 'canary-1234567890'"}


class _Cut(Exception):
    """The connection ends here, without an answer."""


@dataclass
class Exchange:
    """One request, and what can be done with it."""

    method: str
    path: str
    body: bytes
    _upstream: tuple[str, int]
    _ended: threading.Event

    def forward(self, body: bytes | None = None) -> tuple[int, bytes]:
        """Let the engine have the request, or another body in its place, and give its status and answer."""
        connection = http.client.HTTPConnection(*self._upstream, timeout=120)
        try:
            connection.request(
                self.method, self.path, self.body if body is None else body, {"content-type": "application/json"}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def cut(self) -> tuple[int, bytes]:
        """End the connection without an answer."""
        raise _Cut

    def stall(self) -> tuple[int, bytes]:
        """Never answer."""
        self._ended.wait()
        raise _Cut


Behaviour = Callable[[Exchange], tuple[int, bytes]]


@dataclass
class Misbehaving:
    """What is done to the next requests whose path holds a word; every other one goes through."""

    url: str
    told: list[tuple[str, Behaviour]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    _taking: threading.Lock = field(default_factory=threading.Lock)

    def next(self, word: str, *behaviours: Behaviour) -> None:
        """Do these to the next requests whose path holds `word`, one each, in their order."""
        self.told += [(word, each) for each in behaviours]

    def take(self, path: str) -> Behaviour:
        """What to do with a request."""
        with self._taking:
            self.seen.append(path)
            for at, (word, behaviour) in enumerate(self.told):
                if word in path:
                    del self.told[at]
                    return behaviour
        return Exchange.forward


@contextmanager
def misbehaving(url: str) -> Iterator[Misbehaving]:
    """A proxy in front of the engine at an INDEX_URL; its own URL has the same prefix."""
    parts = urlsplit(url)
    upstream = (str(parts.hostname), int(parts.port or 9200))
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            exchange = Exchange(self.command, self.path, body, upstream, ended)
            self.close_connection = True
            with suppress(_Cut, OSError):
                status, answer = proxy.take(self.path)(exchange)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                self.close_connection = False

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any  # noqa: N815 - the server's names

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Misbehaving(f"http://127.0.0.1:{server.server_address[1]}{parts.path}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def answering(status: int, error: Any) -> Behaviour:
    """The engine never hears of the request; this is its answer."""
    return lambda _: (status, json.dumps({"error": error, "status": status}).encode())


def cut_before(exchange: Exchange) -> tuple[int, bytes]:
    """The request is lost."""
    return exchange.cut()


def cut_after(exchange: Exchange) -> tuple[int, bytes]:
    """The request is done, and its answer lost."""
    exchange.forward()
    return exchange.cut()


def stalling(exchange: Exchange) -> tuple[int, bytes]:
    """Nothing ever comes back."""
    return exchange.stall()


def babbling(_: Exchange) -> tuple[int, bytes]:
    """Something answers that is no OpenSearch."""
    return 200, b'{"hello": ["world"]}'


def failing_items(status: int, error: dict[str, str], one_in: int = 2) -> Behaviour:
    """One of so many documents of a bulk is not written; the answer is 200 all the same, and says so of the item."""

    def behave(exchange: Exchange) -> tuple[int, bytes]:
        lines = exchange.body.splitlines(keepends=True)
        documents = [b"".join(lines[at : at + 2]) for at in range(0, len(lines), 2)]
        kept = [each for at, each in enumerate(documents) if at % one_in]
        written = json.loads(exchange.forward(b"".join(kept))[1])["items"] if kept else []
        failed = {"index": {"status": status, "error": error}}
        items = [written.pop(0) if at % one_in else failed for at in range(len(documents))]
        return 200, json.dumps({"errors": True, "items": items}).encode()

    return behave
