"""The audit of a running archive, for who has access to its files: it opens every text, and tells none."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from textkeep.access.rules import require
from textkeep.errors import TextkeepError
from textkeep.retention.audit.audit import Audit, Finding
from textkeep.retention.reports.folder import ReportFolder
from textkeep.search.comparing import Comparing
from textkeep.search.tokens import Tokens
from textkeep.service.local_http import Local
from textkeep.service.problems import document
from textkeep.service.wiring import Archive

TICK: Final = 1.0
"""Seconds between two signs of life of an audit at work."""


def audit_of(archive: Archive) -> Audit:
    """The audit of an archive that is open here."""
    return Audit(
        archive.store,
        archive.keyring,
        archive.sealer,
        archive.papers,
        archive.evidence.signer.state,
        archive.holds.agreement,
        archive.approvals,
        ReportFolder(archive.settings.folder / "reports"),
        archive.clock,
        Comparing(archive.store, archive.vault, Tokens(archive.keyring), archive.index),
    )


def counted(found: list[Finding]) -> dict[str, int]:
    """How many lines have each verdict."""
    return {verdict: sum(each.verdict == verdict for each in found) for verdict in ("pass", "fail", "unknown")}


def told(audit: Audit, shelf: str | None) -> Iterator[bytes]:
    """One JSON document, after a space a second for as long as it takes. Whoever stops listening ends the audit.

    It has `findings` and `counts`, or `problem` alone where the audit did not come to its end.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="audit") as pool:
        running = pool.submit(audit.run, shelf)
        try:
            while not wait([running], TICK).done:
                yield b" "
        finally:
            audit.interrupt()
        yield json.dumps(_ended(running)).encode()


def _ended(running: "Future[list[Finding]]") -> dict[str, Any]:
    try:
        found = running.result()
    except TextkeepError as error:
        return {"problem": document(error)}
    return {"findings": [asdict(each) for each in found], "counts": counted(found)}


def router(archive: Archive) -> APIRouter:
    """The route `/local/audit`."""
    routes = APIRouter(prefix="/local", include_in_schema=False)

    @routes.get("/audit")
    def audit(principal: Local, shelf: str | None = None) -> StreamingResponse:
        """Recompute everything, or one shelf; each line with its verdict and the entry to look at."""
        require(principal, "health.read", None)
        return StreamingResponse(told(audit_of(archive), shelf), media_type="application/json")

    return routes
