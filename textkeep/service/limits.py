"""The largest request of all, refused before it fills the memory: each room has smaller limits of its own."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES: Final = 17 * 1024 * 1024
"""Bytes of any request's body."""


class BodyLimit:
    """ASGI middleware: reading a body beyond BODY_BYTES ends in a 413.

    FastAPI's own limit answers in plain text where the length was announced; this one leaves the answer to the app,
    which makes it a problem document. It is asynchronous because that is what stands between server and app.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what is read of it."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES:
                raise HTTPException(413)
            return message

        await self._app(scope, counted, send)
