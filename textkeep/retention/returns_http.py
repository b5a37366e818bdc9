"""Asking over HTTP that a quarantined record be made a text after all."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.retention.approvals.http import Shown
from textkeep.retention.returns import Returns


class ReturnRequest(BaseModel):
    """Why the record is to be a text; the other person reads it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    reason: Annotated[str, Field(max_length=2_000)] = ""


def router(returns: Returns, shown: Shown) -> APIRouter:
    """`POST /v1/quarantine/{shelf}/{id}/return`."""
    routes = APIRouter(prefix="/v1", tags=["quarantine"])

    @routes.post("/quarantine/{shelf}/{paper_id}/return", status_code=202)
    def ask_return(
        principal: Annotated[Principal, Depends(caller)],
        shelf: Annotated[str, InPath(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")],
        paper_id: Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")],
        wanted: ReturnRequest,
    ) -> dict[str, Any]:
        """Ask that it be judged again and archived as a text. Another person approves it; until then it stays."""
        return shown.one(returns.ask(principal, wanted.reason, shelf, paper_id))

    return routes
