"""`/healthz`: the process answers. `/readyz`: every part does its work, or which does not and why."""

from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from textkeep.service.wiring import PURGE, Archive


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the service, and why it is not ready."""

    name: str
    ready: bool
    why: str | None = None


def router(archive: Archive) -> APIRouter:
    """Both routes; neither needs a token, neither tells more than names of parts."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    def show_health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @routes.get("/readyz", responses={503: {"description": "A part is not ready"}})
    def show_readiness() -> JSONResponse:
        """Whether texts can be taken and found right now.

        A purge that is overdue is shown, and does not take the service out of use: texts must be taken all the same.
        """
        parts = [Part(name, why is None, why) for name, why in archive.readiness().items()]
        ready = all(part.ready for part in parts if part.name != PURGE)
        told: dict[str, Any] = {"ready": ready, "parts": [asdict(part) for part in parts]}
        return JSONResponse(told, 200 if ready else 503)

    return routes
