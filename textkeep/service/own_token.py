"""The token in `DIR/token`: what lets the archive's own OS user search without making one first."""

import os
import pwd
from collections.abc import Collection
from pathlib import Path
from typing import Final

from textkeep.access.principal import Principal
from textkeep.access.tokens import Tokens
from textkeep.errors import Refusal, Unauthenticated
from textkeep.service.folder import TOKEN, read_token, write_private

ROLES: Final = ("officer",)
DEMO_ROLES: Final = ("officer", "auditor", "registrar")


def os_user() -> str:
    """The name of the user this process runs as, from the system's own list, not from the environment."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def leave_own(tokens: Tokens, folder: Path, by: Principal, roles: Collection[str] = ROLES) -> bool:
    """Leave a token for the OS user, for every organisation; False where a good one lies there or none may be made.

    None may be made for somebody who holds a role that never goes together with these.
    """
    there = read_token(folder)
    if there is not None and _accepted(tokens, there, roles):
        return False
    try:
        token, _ = tokens.create(person=os_user(), roles=roles, orgs=None, by=by)
    except Refusal:
        return False
    write_private(folder / TOKEN, token.encode("ascii") + b"\n")
    return True


def _accepted(tokens: Tokens, token: str, roles: Collection[str]) -> bool:
    try:
        return tokens.authenticate(token).roles >= set(roles)
    except Unauthenticated:
        return False
