"""Who is asking, over HTTP."""

from collections.abc import Iterator
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from textkeep.access.http import FileAccess, caller
from textkeep.access.principal import LOCAL, Principal
from textkeep.errors import Unauthenticated
from textkeep.service.listening import Listening

LOCAL_USER = Principal(b"\x08" * 8, LOCAL, frozenset({"operator"}), None)


class OneToken:
    """Accepts `good` and nothing else."""

    def authenticate(self, presented: str) -> Principal:
        if presented != "good":
            raise Unauthenticated("the token is not known, has expired or was revoked")
        return Principal(b"\x01" * 8, "t-1", frozenset({"officer"}), None)


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    app.state.tokens = OneToken()
    app.state.file_access = FileAccess("secret-of-this-run", LOCAL_USER)

    @app.get("/me")
    def me(principal: Annotated[Principal, Depends(caller)]) -> str:
        return principal.token

    @app.exception_handler(Unauthenticated)
    def refuse(_: Request, error: Unauthenticated) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status)

    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[httpx.Client]:
    listening = Listening(app)
    with httpx.Client(base_url=listening.url) as opened:
        yield opened
    listening.close()


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic good", "Bearer bad", "Bearer good good", "Bearer \xfc\xff", "good"]
)
def test_no_or_a_bad_credential_is_refused(client: httpx.Client, header: str | None) -> None:
    headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
    assert client.get("/me", headers=headers).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_that_is_known_names_the_caller(client: httpx.Client, scheme: str) -> None:
    assert client.get("/me", headers={"Authorization": f"{scheme} good"}).json() == "t-1"


def test_the_secret_of_this_run_proves_file_access(client: httpx.Client) -> None:
    assert client.get("/me", headers={"Authorization": "Bearer secret-of-this-run"}).json() == LOCAL
    assert client.get("/me", headers={"Authorization": "Bearer secret-of-this-ru"}).status_code == 401


def test_without_a_folder_nobody_has_file_access(app: FastAPI, client: httpx.Client) -> None:
    app.state.file_access = None
    assert client.get("/me", headers={"Authorization": "Bearer secret-of-this-run"}).status_code == 401


def test_the_secret_is_not_shown_where_its_owner_is() -> None:
    assert "secret-of-this-run" not in repr(FileAccess("secret-of-this-run", LOCAL_USER))
