"""A command's way to the service: HTTP, with the secret of the archive's folder or a token."""

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from textkeep.errors import Malformed, Outage, Refusal, TextkeepError

CONNECT_SECONDS: Final = 5.0

PATIENCE_SECONDS: Final = 300.0
"""How long a push goes on asking while the archive is catching up or out of reach."""

PAUSE_SECONDS: Final = 1.0
"""How long to wait before asking again, where the answer does not say."""

LEAST_PAUSE_SECONDS: Final = 0.05

BUSY: Final = frozenset({429, 502, 503, 504})


UNSOUND: Final = frozenset({"unsound", "ledger-forked", "ledger-key-missing"})
"""Answered with 503 as well, and waiting does not help."""


class Answered(TextkeepError):
    """A problem document, as the service answered it; `status` is the answer's."""

    def __init__(self, status: int, told: Mapping[str, Any], retry_after: int | None) -> None:
        super().__init__(
            str(told.get("detail") or told.get("title") or f"the service answered {status}"),
            field=told.get("field"),
            remedy=str(told.get("remedy", "")),
            retry_after=retry_after,
        )
        self.answered = status
        self.name = str(told.get("type", "")).rpartition("/")[2]


class Client:
    """Calls one service. Close it after use."""

    def __init__(self, url: str, secret: str | None, *, verify: ssl.SSLContext | bool = True) -> None:
        self._secret = secret
        self._http = httpx.Client(
            base_url=url,
            verify=verify,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            follow_redirects=False,
        )

    def speaks_for(self, token: str) -> None:
        """Make every call with this token from here on, and none with file access."""
        self._secret = token

    def answers(self) -> bool:
        """Whether a service answers there at all."""
        try:
            return self._http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        json: object = None,
        content: bytes | None = None,
        media_type: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> Any:
        """The decoded answer. With `patience`, a busy or silent service is asked again for that many seconds.

        Without `token` the call is made with what the client was made for: file access, or a person's token. Raises
        Answered for a problem document, Outage where nothing answers.
        """
        until = time.monotonic() + patience
        sent = {"Authorization": f"Bearer {token or self._secret}", **(headers or {})}
        if media_type is not None:
            sent["Content-Type"] = media_type
        while True:
            try:
                return self._once(method, path, {"json": json, "content": content, "params": params, "headers": sent})
            except (Answered, Outage) as error:
                again = isinstance(error, Outage) or error.answered in BUSY
                if not again or time.monotonic() >= until:
                    raise
                wait = PAUSE_SECONDS if error.retry_after is None else max(error.retry_after, LEAST_PAUSE_SECONDS)
                time.sleep(min(wait, max(0.0, until - time.monotonic())))

    def content(self, path: str) -> bytes:
        """The bytes of an answer. Raises Answered and Outage."""
        return self._answer("GET", path, {"headers": {"Authorization": f"Bearer {self._secret}"}}).content

    def _once(self, method: str, path: str, request: dict[str, Any]) -> Any:
        response = self._answer(method, path, request)
        return response.json() if response.content else None

    def _answer(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        try:
            response = self._http.request(method, path, **{k: v for k, v in request.items() if v is not None})
        except httpx.TransportError:
            raise Outage(
                "the service does not answer",
                remedy="Start it (`textkeep up`), or see what TEXTKEEP_URL names, and run this again: what it had"
                " acknowledged is stored.",
            ) from None
        if response.is_success:
            return response
        raise Answered(response.status_code, _document(response), _seconds(response.headers.get("Retry-After")))

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def exit_code(error: TextkeepError) -> int:
    """1 for what was refused or failed, 3 for what is unavailable at the moment."""
    if isinstance(error, Answered):
        return 3 if error.answered in BUSY and error.name not in UNSOUND else 1
    return 3 if isinstance(error, Outage) or (isinstance(error, Refusal) and error.status in BUSY) else 1


def _document(response: httpx.Response) -> Mapping[str, Any]:
    try:
        told = response.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _seconds(written: str | None) -> int | None:
    return int(written) if written is not None and written.isdigit() else None


def trusting(authority: Path | None) -> ssl.SSLContext | bool:
    """Trust what this system trusts, or the authority (PEM) of an archive elsewhere. Raises Malformed for no PEM."""
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError:
        raise Malformed("the file holds no certificate that can be read (PEM)", field="TEXTKEEP_URL_CA") from None


def only(certificate: Path) -> ssl.SSLContext:
    """Trust the service's own certificate and no other: the command knows it from the archive's folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
