"""A listening socket with the app behind it, in a thread of this process."""

import socket
import ssl
import threading
from typing import Final

import uvicorn
from fastapi import FastAPI

from textkeep.errors import Conflict, Malformed, Unsound
from textkeep.service.exposure import LOOPBACK, Tls

DRAIN_SECONDS: Final = 60
"""How long a stop waits for requests that are being answered; what is not acknowledged by then was not stored."""

SECURITY_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; style-src 'unsafe-inline'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
"""On every answer: nothing is kept by a browser or a proxy, framed, or loaded from elsewhere."""


class Listening:
    """The app, answering on an address until it is closed.

    Raises Conflict where the address is taken, Malformed where it is none, Unsound where the certificate or its key
    cannot be used.
    """

    def __init__(
        self, app: FastAPI, host: str = LOOPBACK, port: int = 0, tls: Tls | None = None, *, setting: str = "--port"
    ) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            headers=list(SECURITY_HEADERS),
            timeout_graceful_shutdown=DRAIN_SECONDS,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        try:
            config.load()
        except (ssl.SSLError, OSError) as exc:
            raise Unsound(
                "the certificate or its key cannot be used",
                field="--tls-cert",
                remedy="Give a PEM certificate chain that this user can read, and with --tls-key its unencrypted key.",
            ) from exc
        self._socket = _bind(host, port, setting)
        bound = self._socket.getsockname()
        self.host, self.port = host, int(bound[1])
        self.tls = tls
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where others reach it."""
        return self._url(self.host)

    @property
    def near_url(self) -> str:
        """Where this machine reaches it: over the loopback address, if it listens on every one."""
        every = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}  # noqa: S104  read here, not bound
        return self._url(every.get(self.host, self.host))

    def alive(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Take no more connections, finish what is being answered, and return."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _url(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{shown}:{self.port}"


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=1024)
        # Connections inherit it. asyncio sets it only on sockets that name their protocol, which this one does not;
        # without it an answer of two writes waits 40 ms for the other end's delayed acknowledgement.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as exc:
        if isinstance(exc, socket.gaierror):
            raise Malformed("that is no address of this machine", field=setting.replace("--port", "--host")) from None
        raise Conflict(
            "the address cannot be listened on: it is taken, or not this machine's",
            field=setting,
            remedy="Stop what listens there, or choose another address.",
        ) from exc
    except OverflowError:
        raise Malformed("a port is a number from 0 to 65535", field=setting) from None
    return bound
