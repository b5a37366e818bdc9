"""What this deployment has open. eDiscovery and the Events feed are closed: no user's setting opens them."""

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.rules import require
from textkeep.errors import CapabilityUnavailable

CLOSED: Final = {"ediscovery": "eDiscovery", "events": "the Events feed"}
"""Capabilities by the first part of their address, in words."""

WHY: Final = (
    "is not open in this deployment. While it is closed nothing is collected for it, and opening it later"
    " back-fills nothing."
)

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


class Capability(BaseModel):
    """Whether one capability is open, and why not."""

    name: str
    available: bool
    reason: str | None


class Capabilities(BaseModel):
    """Every capability that this deployment could have."""

    capabilities: list[Capability]


def router() -> APIRouter:
    """`GET /v1/capabilities`, and a refusal behind authentication for everything under a closed one."""
    routes = APIRouter(prefix="/v1", tags=["capabilities"])

    @routes.get("/capabilities")
    def list_capabilities(principal: Annotated[Principal, Depends(caller)]) -> Capabilities:
        """Which capabilities are open in this deployment."""
        require(principal, "capabilities.read", None)
        closed = [
            Capability(name=name, available=False, reason=f"{words[:1].upper()}{words[1:]} {WHY}")
            for name, words in CLOSED.items()
        ]
        return Capabilities(capabilities=closed)

    for name in CLOSED:
        for address in (f"/{name}", f"/{name}/{{rest:path}}"):
            routes.add_api_route(address, _refusal(name), methods=list(METHODS), include_in_schema=False)
    return routes


def _refusal(name: str) -> Callable[..., None]:
    def refuse(principal: Annotated[Principal, Depends(caller)]) -> None:
        require(principal, "capabilities.read", None)
        raise CapabilityUnavailable(f"{CLOSED[name]} {WHY}")

    return refuse
