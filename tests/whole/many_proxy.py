"""A TCP proxy in front of a real engine. While it storms it cuts connections, loses part of what is sent, stalls."""

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

TURNED_AWAY: Final = 0.2
"""How likely a new connection ends at once."""

STALL_SECONDS: Final = 2.0

_PIECE: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass
class Proxy:
    """Listens at `port`; `cut` and `stalled` count what it has done.

    With each piece of data that passes a connection ends, or nothing moves for a while, each as likely as `likely`.
    """

    port: int
    upstream: tuple[str, int]
    chance: random.Random
    likely: float
    cut: int = 0
    stalled: int = 0
    storm: threading.Event = field(default_factory=threading.Event)
    calm: threading.Event = field(default_factory=threading.Event)
    _open: set[socket.socket] = field(default_factory=set)

    def rage(self) -> None:
        """Begin to storm."""
        self.calm.clear()
        self.storm.set()

    def rest(self) -> None:
        """Everything goes through again; what is stalled goes on."""
        self.storm.clear()
        self.calm.set()

    def serve(self, listening: socket.socket) -> None:
        """Take connections until the socket is closed."""
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def close(self) -> None:
        """End every connection."""
        self.rest()
        for each in list(self._open):
            self._end(each)

    def _connect(self, near: socket.socket) -> None:
        if self.storm.is_set() and self.chance.random() < TURNED_AWAY:
            self.cut += 1
            self._end(near)
            return
        try:
            far = socket.create_connection(self.upstream, timeout=30)
        except OSError:
            self._end(near)
            return
        far.settimeout(None)
        self._open |= {near, far}
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
        self._pump(far, near)

    def _pump(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                if self.storm.is_set() and not self._weather(piece, to):
                    break
                to.sendall(piece)
        for each in (source, to):
            self._end(each)

    def _weather(self, piece: bytes, to: socket.socket) -> bool:
        """Do something to a connection, or nothing; False where it ends."""
        drawn = self.chance.random()
        if drawn < self.likely:
            self.cut += 1
            to.sendall(piece[: self.chance.randrange(len(piece) + 1)])
            return False
        if drawn < 2 * self.likely:
            self.stalled += 1
            self.calm.wait(self.chance.uniform(0, STALL_SECONDS))
        return True

    def _end(self, each: socket.socket) -> None:
        """Close it; half of the time as if the machine behind it had never known of it."""
        self._open.discard(each)
        with suppress(OSError):
            if self.chance.random() < 0.5:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def proxy(port: int, seed: int, likely: float) -> Iterator[Proxy]:
    """A proxy in front of a port of this machine; the same seed draws the same lots."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        made = Proxy(listening.getsockname()[1], ("127.0.0.1", port), random.Random(seed), likely)
        threading.Thread(target=made.serve, args=(listening,), daemon=True).start()
        try:
            yield made
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            made.close()
