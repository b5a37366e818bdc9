"""Activity over HTTP: what people searched and read on a day, and why, for the auditor."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.access.rules import require
from textkeep.access.tokens import Names
from textkeep.archive.activity import Activity, ActivityRecord
from textkeep.archive.organisations import Organisations
from textkeep.archive.shelf import Day
from textkeep.archive.text import HOUSE
from textkeep.ledger.log import moment
from textkeep.store.engine import Store


def router(store: Store, activity: Activity, organisations: Organisations, names: Names) -> APIRouter:
    """`GET /v1/activity`."""
    routes = APIRouter(prefix="/v1", tags=["activity"])

    @routes.get("/activity")
    def list_activity(
        principal: Annotated[Principal, Depends(caller)],
        day: Annotated[date, Query(description="The UTC day on which it happened.")],
    ) -> list[dict[str, Any]]:
        """What was searched and read on a day in the caller's organisations, oldest first; gone with that day."""
        require(principal, "activity.read", None)
        seen = [record for record in activity.of_day(Day(day)) if principal.sees(record.org or HOUSE)]
        with store.reading() as connection:
            people = {person: names.name_of(connection, person) for person in {record.person for record in seen}}
        return [_shown(record, people[record.person], organisations) for record in seen]

    return routes


def _shown(record: ActivityRecord, person: str, organisations: Organisations) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "at": moment(record.at),
        "person": person,
        "org_id": None if record.org is None else organisations.name(record.org),
        "detail": record.detail,
    }
