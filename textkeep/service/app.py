"""The HTTP app: every room's routes over one archive."""

from importlib.metadata import version

from fastapi import Depends, FastAPI

from textkeep.access.http import FileAccess
from textkeep.directory import http as directory_http
from textkeep.ingest import http as ingest_http
from textkeep.retention import http as retention_http
from textkeep.retention.reports import http as reports_http
from textkeep.search import http as search_http
from textkeep.service import activity_http, audit_http, capabilities, health, ledger_http, local_http, metrics, problems
from textkeep.service.limits import BodyLimit
from textkeep.service.wiring import Archive

DESCRIPTION = (
    "A compliance archive for business text messages: sealed before it is stored, searchable, kept 400 days, provably"
    " destroyed. Errors are problem documents (RFC 9457); their `type` leads to an explanation."
)


def build(archive: Archive, file_access: FileAccess | None = None) -> FastAPI:
    """The app over an archive. `file_access` is who comes with the secret of this run."""
    app = _empty(archive)
    app.state.tokens = archive.tokens
    app.state.file_access = file_access
    app.add_middleware(BodyLimit)
    # What other processes have registered is known to each request that begins after it; intake looks by itself.
    fresh = [Depends(archive.directory.refresh)] if archive.store.shared else []
    app.include_router(ingest_http.router(archive.intake, archive.door, archive.vault, archive.quarantine, fresh=fresh))
    routers = (
        search_http.router(archive.finder, archive.reader, archive.organisations),
        directory_http.router(archive.directory, archive.organisations),
        activity_http.router(archive.store, archive.activity, archive.organisations, archive.persons),
        archive.holds.router(archive.papers, archive.activity, archive.persons),
        archive.decisions.router(archive.organisations, archive.persons),
        local_http.router(archive),
        audit_http.router(archive),
    )
    for router in routers:
        app.include_router(router, dependencies=fresh)
    app.include_router(retention_http.router(archive.store, archive.purge, archive.chain, archive.clock))
    app.include_router(reports_http.router(archive.chain))
    app.include_router(ledger_http.router(archive.store, archive.evidence, archive.vault, archive.clock))
    app.include_router(capabilities.router())
    _watch(app, archive)
    return app


def build_watch(archive: Archive) -> FastAPI:
    """Health and metrics alone, for a process without an API, or beside it. Nothing there needs a token."""
    app = _empty(archive)
    _watch(app, archive)
    return app


def _watch(app: FastAPI, archive: Archive) -> None:
    for router in (health.router(archive.state), metrics.router(archive.metrics), problems.router()):
        app.include_router(router)


def _empty(archive: Archive) -> FastAPI:
    app = FastAPI(
        title="Textkeep",
        description=DESCRIPTION,
        version=version("textkeep"),
        docs_url=None,  # both pages load scripts from other hosts; /openapi.json does not
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.RESPONSES,
        # It would record the messages of exceptions and the input of failed validations.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    problems.install(app, archive.metrics.failed)
    return app
