"""The audit of a running archive, for who has access to its files: it opens every text, and tells none."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from textkeep.access.rules import require
from textkeep.retention.audit.audit import Audit, Finding
from textkeep.retention.reports.folder import ReportFolder
from textkeep.service.local_http import Local
from textkeep.service.wiring import Archive


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
    )


def counted(found: list[Finding]) -> dict[str, int]:
    """How many lines have each verdict."""
    return {verdict: sum(each.verdict == verdict for each in found) for verdict in ("pass", "fail", "unknown")}


def router(archive: Archive) -> APIRouter:
    """The route `/local/audit`."""
    routes = APIRouter(prefix="/local", include_in_schema=False)

    @routes.get("/audit")
    def audit(principal: Local, shelf: str | None = None) -> dict[str, Any]:
        """Recompute everything, or one shelf; each line with its verdict and the entry to look at."""
        require(principal, "health.read", None)
        found = audit_of(archive).run(shelf)
        return {"findings": [asdict(each) for each in found], "counts": counted(found)}

    return routes
