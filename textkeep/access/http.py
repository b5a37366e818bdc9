"""Who is asking, over HTTP: a bearer token, or the secret of this run that lies in the archive's folder."""

import hmac
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from textkeep.access.principal import Principal
from textkeep.access.tokens import Tokens
from textkeep.errors import Unauthenticated

_BEARER: Final = HTTPBearer(auto_error=False, description="A token that `textkeep token create` has made.")


@dataclass(frozen=True, slots=True)
class FileAccess:
    """What proves access to the archive's files, for as long as this process runs, and who that is."""

    secret: str = field(repr=False)
    principal: Principal

    def proven_by(self, presented: str) -> bool:
        """Whether `presented` is the secret, found out in constant time."""
        return hmac.compare_digest(self.secret.encode("utf-8"), presented.encode("utf-8"))


def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
) -> Principal:
    """FastAPI dependency: the principal behind the request's `Authorization: Bearer`. Raises Unauthenticated.

    Reads `app.state.tokens` (Tokens) and `app.state.file_access` (FileAccess, or absent).
    """
    if credentials is None or not credentials.credentials:
        raise Unauthenticated("the request carries no bearer token")
    file_access: FileAccess | None = getattr(request.app.state, "file_access", None)
    if file_access is not None and file_access.proven_by(credentials.credentials):
        return file_access.principal
    tokens: Tokens = request.app.state.tokens
    return tokens.authenticate(credentials.credentials)
