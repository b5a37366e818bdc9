"""The ledger over HTTP: the log as C2SP tlog-tiles, cosignatures of witnesses, and the proofs behind a receipt."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from textkeep.access import rules
from textkeep.access.http import caller
from textkeep.access.principal import Principal
from textkeep.archive.vault import Vault
from textkeep.clock import Clock
from textkeep.errors import NotFound
from textkeep.ledger import checkpoints, log, proving
from textkeep.ledger.export import bundle, leaf_lines, tile
from textkeep.ledger.paths import MOST_LEVEL, parse_tile
from textkeep.service.evidence import Evidence
from textkeep.service.local_http import Local
from textkeep.store.engine import Store

Caller = Annotated[Principal, Depends(caller)]
TilePath = Annotated[str, InPath(max_length=60)]

FOREVER: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
"""What a tile holds never changes."""

ANEW: Final = {"Cache-Control": "private, no-cache"}

_BYTES: Final = "application/octet-stream"
_TEXT: Final = "text/plain; charset=utf-8"
_LINES: Final = "application/x-ndjson"


class Cosignature(BaseModel):
    """A witness's signature line of the checkpoint of a tree of that size."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    size: Annotated[int, Field(ge=0, le=2**63 - 1)]
    line: Annotated[str, Field(min_length=1, max_length=1000)]


class Where(BaseModel):
    """A folder of the machine that answers."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    folder: Path


class Agreed(BaseModel):
    """Under which approval something is done."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    approval: Annotated[str, Field(pattern=r"^a-[0-9a-f]{16}$")]


class Known(BaseModel):
    """The verifier key that auditors know."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: Annotated[str, Field(min_length=1, max_length=1000)]


def router(store: Store, evidence: Evidence, vault: Vault, clock: Clock) -> APIRouter:
    """The routes under `/ledger`, `/v1/ledger`, `/local/ledger`, and `GET /v1/batches/{id}/proof`."""
    routes = APIRouter()
    _add_log(routes, store, evidence)
    _add_tiles(routes, store)
    _add_witnesses(routes, store, evidence, clock)
    _add_proofs(routes, store, vault)
    _add_local(routes, evidence)
    return routes


def _add_log(routes: APIRouter, store: Store, evidence: Evidence) -> None:
    @routes.get("/ledger/checkpoint", tags=["ledger"], response_class=Response)
    def get_checkpoint(principal: Caller) -> Response:
        """The newest signed checkpoint (C2SP tlog-checkpoint), with the cosignatures it has."""
        rules.require(principal, "ledger.read", None)
        with store.reading() as connection:
            published = checkpoints.newest(connection)
        if published is None:
            raise NotFound("nothing is signed yet")
        return Response(published.served(), media_type=_TEXT, headers=ANEW)

    @routes.get("/ledger/key", tags=["ledger"], response_class=Response)
    def get_key(principal: Caller) -> Response:
        """The verifier key (C2SP signed-note): its name is the log's origin."""
        rules.require(principal, "ledger.read", None)
        return Response(f"{evidence.key()}\n".encode(), media_type=_TEXT, headers=ANEW)

    @routes.get("/ledger/leaves/{shelf}", tags=["ledger"], response_class=StreamingResponse)
    def get_leaves(
        principal: Caller, shelf: Annotated[str, InPath(pattern=r"^[0-9a-z][0-9a-z-]{0,63}$")]
    ) -> StreamingResponse:
        """The leaves behind the roots of a shelf's entries, as JSON lines of `id` and `hashes` (base64)."""
        rules.require(principal, "ledger.read", None)
        return StreamingResponse(_streamed(store, shelf), media_type=_LINES, headers=ANEW)


def _streamed(store: Store, shelf: str) -> Iterator[bytes]:
    with store.reading() as connection:
        lines = list(leaf_lines(connection, shelf))
    yield from lines


def _add_tiles(routes: APIRouter, store: Store) -> None:
    @routes.get("/ledger/tile/entries/{path:path}", tags=["ledger"], response_class=Response)
    def get_entries(principal: Caller, path: TilePath) -> Response:
        """A bundle of entries, each behind its length in 2 bytes (C2SP tlog-tiles)."""
        rules.require(principal, "ledger.read", None)
        wanted = parse_tile(path)
        with store.reading() as connection:
            published = checkpoints.newest(connection)
            found = bundle(connection, *wanted, published.size) if wanted and published else None
        return _part(found)

    @routes.get("/ledger/tile/{level}/{path:path}", tags=["ledger"], response_class=Response)
    def get_tile(principal: Caller, level: Annotated[int, InPath(ge=0, le=MOST_LEVEL)], path: TilePath) -> Response:
        """A tile of hashes (C2SP tlog-tiles)."""
        rules.require(principal, "ledger.read", None)
        wanted = parse_tile(path)
        with store.reading() as connection:
            published = checkpoints.newest(connection)
            found = tile(connection, level, *wanted, published.size) if wanted and published else None
        return _part(found)


def _part(content: bytes | None) -> Response:
    if content is None:
        raise NotFound("the signed log has no such part", remedy="`GET /ledger/checkpoint` says how large it is.")
    return Response(content, media_type=_BYTES, headers=FOREVER)


def _add_witnesses(routes: APIRouter, store: Store, evidence: Evidence, clock: Clock) -> None:
    @routes.get("/v1/ledger", tags=["ledger"])
    def get_status(principal: Caller) -> dict[str, Any]:
        """What is signed, what waits, what stands against signing, and who the witnesses are."""
        rules.require(principal, "ledger.read", None)
        return evidence.status()

    @routes.get("/v1/ledger/witnesses", tags=["ledger"])
    def get_witnesses(principal: Caller) -> list[dict[str, Any]]:
        """Who is or was a witness."""
        rules.require(principal, "ledger.read", None)
        return evidence.witnesses()

    @routes.post("/v1/ledger/cosignatures", tags=["ledger"])
    def post_cosignature(principal: Caller, given: Cosignature) -> dict[str, Any]:
        """Take a witness's cosignature (C2SP tlog-cosignature) of a known checkpoint; it is served with it."""
        rules.require(principal, "ledger.read", None)
        with store.transaction() as connection:
            witness = checkpoints.cosign(connection, given.size, given.line, clock())
        return {"size": given.size, "witness": witness}


def _add_proofs(routes: APIRouter, store: Store, vault: Vault) -> None:
    @routes.get("/v1/batches/{batch_id}/proof", tags=["texts"])
    def get_proof(principal: Caller, batch_id: Annotated[str, InPath(max_length=64)]) -> dict[str, Any]:
        """Each ledger entry of a batch with its proof (C2SP tlog-proof); 409 `pending` until all of them are signed.

        For who may read the receipt, as long as that is there.
        """
        rules.require(principal, "receipts.read", None)
        stored = vault.batch(batch_id)
        if stored is None or not (stored.producer == principal.person or "auditor" in principal.roles):
            raise NotFound("there is no such batch, or it was another producer's")
        with store.reading() as connection:
            entries = [
                {
                    "kind": each.kind,
                    "shelf": each.shelf,
                    "index": each.index,
                    "entry": each.body,
                    "proof": proving.proof(connection, each.seq).decode(),
                }
                for each in log.of_batch(connection, batch_id)
            ]
        return {"batch_id": batch_id, "entries": entries}


def _add_local(routes: APIRouter, evidence: Evidence) -> None:
    @routes.get("/local/ledger/status", include_in_schema=False)
    def show_status(_: Local) -> dict[str, Any]:
        """How the ledger stands."""
        return evidence.status()

    @routes.get("/local/ledger/witnesses", include_in_schema=False)
    def show_witnesses(_: Local) -> list[dict[str, Any]]:
        """Who is or was a witness."""
        return evidence.witnesses()

    @routes.post("/local/ledger/export", include_in_schema=False)
    def write_export(_: Local, wanted: Where) -> dict[str, Any]:
        """Bring a static copy of the log up to date."""
        return asdict(evidence.export(wanted.folder))

    @routes.post("/local/ledger/import", include_in_schema=False)
    def put_back(_: Local, wanted: Where) -> dict[str, Any]:
        """Put entries back that the database has lost."""
        return asdict(evidence.put_back(wanted.folder))

    @routes.post("/local/ledger/resume", include_in_schema=False)
    def resume(_: Local, agreed: Agreed) -> dict[str, Any]:
        """Sign on, as two persons have agreed."""
        return evidence.resume(agreed.approval)

    @routes.post("/local/ledger/rotate", include_in_schema=False)
    def rotate(_: Local, agreed: Agreed) -> dict[str, Any]:
        """Change the key, as two persons have agreed."""
        return evidence.rotate(agreed.approval)

    @routes.post("/local/ledger/replace", include_in_schema=False)
    def replace(_: Local, agreed: Agreed) -> dict[str, Any]:
        """Go on with a new key where the one in use was lost, as two persons have agreed."""
        return evidence.replace(agreed.approval)

    @routes.post("/local/ledger/recover", include_in_schema=False)
    def recover(_: Local, known: Known) -> dict[str, Any]:
        """Read what was signed last from the database, where the keyring's store has lost it together with the key."""
        return evidence.recover(known.key)
