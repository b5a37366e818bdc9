"""`/healthz`: the process answers. `/readyz`: every part does its work, or which does not and why."""

from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from textkeep.service.state import State


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the service, and why it is not ready."""

    name: str
    ready: bool
    why: str | None = None


def router(state: State) -> APIRouter:
    """Both routes; neither needs a token, neither tells more than names of parts."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    def show_health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @routes.get("/readyz", responses={503: {"description": "A part is not ready"}})
    def show_readiness() -> JSONResponse:
        """Whether this process can do its work right now: where it takes texts, whether it can.

        What it does not need for that is shown, and does not take it out of use: an index that does not answer, a
        purge that is overdue.
        """
        parts = [Part(name, why is None, why) for name, why in state.readiness().items()]
        needed = state.needed()
        ready = all(part.ready for part in parts if part.name in needed)
        told: dict[str, Any] = {"ready": ready, "parts": [asdict(part) for part in parts]}
        return JSONResponse(told, 200 if ready else 503)

    return routes
