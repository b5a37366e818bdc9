"""What only access to the archive's files allows: tokens, doctor, keyring, rebuild, ledger. No public interface.

Behind these routes stands the secret of this run (`access/http.py`); no token opens them.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from textkeep.access.http import caller
from textkeep.access.principal import LOCAL, Principal
from textkeep.access.rules import require
from textkeep.access.tokens import DAYS, MOST_DAYS, Token
from textkeep.archive.backup import LIFE
from textkeep.archive.text import Handle
from textkeep.errors import Forbidden, NotFound
from textkeep.ledger import log
from textkeep.ledger.log import moment
from textkeep.retention.http import listed
from textkeep.retention.reports import http as reports_http
from textkeep.service.own_token import leave_own, os_user
from textkeep.service.wiring import Archive
from textkeep.store import schema

MOST_ENTRIES: Final = 1000


def file_access(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """FastAPI dependency: the caller, who has access to the archive's files. Raises Forbidden for a token."""
    if principal.token != LOCAL:
        raise Forbidden("this takes access to the archive's files; no token allows it")
    return principal


Local = Annotated[Principal, Depends(file_access)]


class TokenRequest(BaseModel):
    """What a token shall be; `orgs` None is every organisation, `person` None the OS user."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    roles: Annotated[list[str], Field(min_length=1, max_length=20)]
    orgs: Annotated[list[str], Field(min_length=1)] | None = None
    person: str | None = None
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = DAYS


class RebuildRequest(BaseModel):
    """Which shelf to index anew; None is every one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    shelf: str | None = None


class ResumeRequest(BaseModel):
    """The approval by which two persons go on with a restored keyring."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    approval: str


class BackupRequest(BaseModel):
    """Where a backup of the keyring goes, where its key does, and how many days it lives."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    to: Path | None = None
    keys: Path | None = None
    days: float = LIFE.days


def router(archive: Archive) -> APIRouter:
    """The routes under `/local`."""
    routes = APIRouter(prefix="/local", include_in_schema=False)
    _add_tokens(routes, archive)
    _add_state(routes, archive)
    _add_upkeep(routes, archive)
    return routes


def _add_tokens(routes: APIRouter, archive: Archive) -> None:
    @routes.post("/tokens")
    def create_token(principal: Local, wanted: TokenRequest) -> dict[str, Any]:
        """Make a token; the first time, leave one of their own for the OS user, unless many machines share it."""
        require(principal, "tokens.manage", None)
        person = wanted.person if wanted.person is not None else os_user()
        orgs = None if wanted.orgs is None else [_handle(archive, org) for org in wanted.orgs]
        secret, token = archive.tokens.create(
            person=person, roles=wanted.roles, orgs=orgs, days=wanted.days, by=principal
        )
        left = not archive.settings.shared and leave_own(archive.tokens, archive.settings.folder, principal)
        return {"token": secret, **_shown(archive, token, person), "left": left}

    @routes.get("/tokens")
    def list_tokens(principal: Local) -> dict[str, Any]:
        """Every token there is or was."""
        require(principal, "tokens.manage", None)
        return {"tokens": [_shown(archive, token, person) for token, person in archive.tokens.list()]}

    @routes.post("/tokens/{token_id}/revoke")
    def revoke_token(principal: Local, token_id: str) -> dict[str, Any]:
        """End a token now."""
        require(principal, "tokens.manage", None)
        token = archive.tokens.revoke(token_id, by=principal)
        return {"id": token.id, "revoked_at": moment(token.revoked_at) if token.revoked_at else None}


def _add_state(routes: APIRouter, archive: Archive) -> None:
    @routes.get("/state")
    def show_state(_: Local) -> dict[str, Any]:
        """Since when something has been waiting to be findable; None where nothing is."""
        oldest = archive.unindexed_since()
        return {
            "unindexed_since": moment(oldest) if oldest else None,
            "damaged": len(archive.state.damaged()),
            "following": archive.following,
        }

    @routes.get("/ledger")
    def list_entries(
        principal: Local, shelf: str | None = None, after: Annotated[int, Query(ge=0)] = 0
    ) -> dict[str, Any]:
        """The entries, as they were written, with their places in the log; at most 1,000, `after` leads on."""
        require(principal, "health.read", None)
        with archive.store.reading() as connection:
            found = log.page(connection, shelf=shelf, after=after, limit=MOST_ENTRIES)
        told = [
            {
                "seq": each.seq,
                "index": each.index,
                "time": moment(each.made_at),
                "kind": each.kind,
                "shelf": each.shelf,
                "body": each.body,
            }
            for each in found
        ]
        return {"entries": told, "after": found[-1].seq if len(found) == MOST_ENTRIES else None}

    @routes.get("/reports")
    def list_reports(principal: Local) -> list[dict[str, Any]]:
        """Every report: whoever has the files has theirs too."""
        require(principal, "health.read", None)
        return listed(archive.chain)

    @routes.get("/reports/{shelf}/{form}")
    def show_report(principal: Local, shelf: str, form: reports_http.Form) -> Response:
        """A report in one of its forms: whoever has the files has its file too."""
        require(principal, "health.read", None)
        return reports_http.answer(archive.chain, shelf, form)


def _add_upkeep(routes: APIRouter, archive: Archive) -> None:
    @routes.get("/doctor")
    def examine(principal: Local) -> dict[str, Any]:
        """Every finding."""
        require(principal, "health.read", None)
        return {"findings": [asdict(finding) for finding in archive.examine()]}

    @routes.post("/clock-reset")
    def reset_clock(principal: Local) -> dict[str, Any]:
        """Set a last-seen time that is ahead of the clock to the clock."""
        require(principal, "purge.run", None)
        return {"last_seen": moment(archive.mark.reset(by=principal.person.hex()))}

    @routes.get("/keyring")
    def show_keyring(principal: Local) -> dict[str, Any]:
        """Counts of the keyring, and its backups."""
        require(principal, "health.read", None)
        return archive.keys.status()

    @routes.post("/keyring/backups")
    def back_up(principal: Local, wanted: BackupRequest) -> dict[str, Any]:
        """Back the keyring up now."""
        require(principal, "health.read", None)
        return archive.keys.back_up(wanted.to, wanted.keys, wanted.days)

    @routes.post("/keyring/resume")
    def resume_keyring(principal: Local, agreed: ResumeRequest) -> dict[str, Any]:
        """Go on with a restored keyring, as two persons have agreed."""
        require(principal, "health.read", None)
        return archive.keys.resuming.resume(agreed.approval)

    @routes.get("/schema")
    def show_schema(principal: Local) -> dict[str, Any]:
        """Which version the tables have."""
        require(principal, "health.read", None)
        return {"version": schema.version(archive.store), "newest": schema.newest(), "migrated": archive.migrated}

    @routes.post("/rebuild")
    def rebuild(principal: Local, wanted: RebuildRequest) -> dict[str, Any]:
        """Make the index of a shelf, or of every one, anew."""
        require(principal, "health.read", None)
        return archive.rebuild(wanted.shelf)


def _handle(archive: Archive, org: str) -> Handle:
    handle = archive.organisations.find(org)
    if handle is None:
        raise NotFound(
            "no organisation of that name is registered",
            field="--org",
            remedy="Load the directory first: textkeep load --directory FILE",
        )
    return handle


def _shown(archive: Archive, token: Token, person: str) -> dict[str, Any]:
    live = token.live(archive.clock())
    return {
        "id": token.id,
        "person": person,
        "roles": sorted(token.roles),
        "orgs": None if token.orgs is None else sorted(archive.organisations.name(Handle(org)) for org in token.orgs),
        "created_at": moment(token.created_at),
        "expires_at": moment(token.expires_at),
        "state": "live" if live else "revoked" if token.revoked_at else "expired",
    }
