"""The directory over HTTP: organisations, locations, users, and whether a user may text."""

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends
from fastapi import Path as InPath

from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.archive.organisations import Organisations
from textkeep.directory.directory import Directory, Kind
from textkeep.directory.feed import may, take
from textkeep.directory.records import MAX_NAME, Location, Org, Record, User, read_body
from textkeep.errors import NotFound

FEED: Final = "application/x-ndjson"

Caller = Annotated[Principal, Depends(caller)]
Name = Annotated[str, InPath(min_length=1, max_length=MAX_NAME)]
Members = Annotated[dict[str, Any], Body()]


def router(directory: Directory, organisations: Organisations) -> APIRouter:
    """The routes under `/v1/orgs`, and `POST /v1/directory` for a whole feed."""
    routes = APIRouter(prefix="/v1", tags=["directory"])
    _add_orgs(routes, directory, organisations)
    _add_locations(routes, directory, organisations)
    _add_users(routes, directory, organisations)

    @routes.post("/directory", openapi_extra=_feed_body())
    def load_directory(principal: Caller, feed: Annotated[bytes, Body(media_type=FEED)]) -> dict[str, Any]:
        """Put a directory feed, one record a line, each with an outcome of its own."""
        lines = take(directory, organisations, principal, feed)
        counts = Counter[str](line.outcome for line in lines)
        outcomes = ("added", "changed", "unchanged", "refused")
        totals = {"read": len(lines)} | {outcome: counts[outcome] for outcome in outcomes}
        return {**totals, "items": [asdict(line) for line in lines]}

    return routes


def _add_orgs(routes: APIRouter, directory: Directory, organisations: Organisations) -> None:
    @routes.put("/orgs/{org}", openapi_extra=_body(Org, "org_id"))
    def put_org(principal: Caller, org: Name, members: Members) -> dict[str, Any]:
        """Register an organisation, or record what has changed about it."""
        may(organisations, principal, "directory.write", org)
        return _put(directory, read_body(members, "org", {"org_id": org}))

    @routes.get("/orgs/{org}")
    def get_org(principal: Caller, org: Name) -> dict[str, Any]:
        """What is known of an organisation now."""
        may(organisations, principal, "directory.read", org)
        return _get(directory, "org", org, "")


def _add_locations(routes: APIRouter, directory: Directory, organisations: Organisations) -> None:
    @routes.put("/orgs/{org}/locations/{location}", openapi_extra=_body(Location, "org_id", "location_id"))
    def put_location(principal: Caller, org: Name, location: Name, members: Members) -> dict[str, Any]:
        """Record a location, or what has changed about it."""
        may(organisations, principal, "directory.write", org)
        return _put(directory, read_body(members, "location", {"org_id": org, "location_id": location}))

    @routes.get("/orgs/{org}/locations/{location}")
    def get_location(principal: Caller, org: Name, location: Name) -> dict[str, Any]:
        """What is known of a location now."""
        may(organisations, principal, "directory.read", org)
        return _get(directory, "location", org, location)


def _add_users(routes: APIRouter, directory: Directory, organisations: Organisations) -> None:
    @routes.put("/orgs/{org}/users/{user}", openapi_extra=_body(User, "org_id", "user_id"))
    def put_user(principal: Caller, org: Name, user: Name, members: Members) -> dict[str, Any]:
        """Record a user, or what has changed: a later record ends the interval of the one before."""
        may(organisations, principal, "directory.write", org)
        return _put(directory, read_body(members, "user", {"org_id": org, "user_id": user}))

    @routes.get("/orgs/{org}/users/{user}")
    def get_user(principal: Caller, org: Name, user: Name) -> dict[str, Any]:
        """What is known of a user now, and since when."""
        may(organisations, principal, "directory.read", org)
        return _get(directory, "user", org, user)

    @routes.get("/orgs/{org}/users/{user}/texting")
    def get_texting(principal: Caller, org: Name, user: Name) -> dict[str, Any]:
        """Whether a user may text now, and which requirements are missing."""
        may(organisations, principal, "directory.read", org)
        return asdict(directory.texting(org, user))


def _put(directory: Directory, record: Record) -> dict[str, Any]:
    outcome = directory.put(record)
    return {"outcome": outcome, "record": record.model_dump(mode="json")}


def _get(directory: Directory, kind: Kind, org: str, key: str) -> dict[str, Any]:
    interval = directory.current(kind, org, key)
    if interval is None:
        raise NotFound("the directory knows nothing of that name")
    return interval.record.model_dump(mode="json") | {"since": interval.since.isoformat().replace("+00:00", "Z")}


def _body(model: type[Record], *in_path: str) -> dict[str, Any]:
    """The OpenAPI request body of a record; what stands in the path may be left out of it."""
    schema = model.model_json_schema()
    schema["required"] = [name for name in schema["required"] if name not in in_path]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _feed_body() -> dict[str, Any]:
    schema = {"type": "string", "description": "Directory records, one JSON object a line."}
    return {"requestBody": {"required": True, "content": {FEED: {"schema": schema}}}}
