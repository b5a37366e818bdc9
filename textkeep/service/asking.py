"""What a person asks with a token of their own: of the archive here, or with `TEXTKEEP_URL` of one elsewhere."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from textkeep.errors import Unauthenticated
from textkeep.service.client import Client, trusting
from textkeep.service.folder import read_token
from textkeep.service.local import reach
from textkeep.service.settings import Settings


@contextmanager
def asking(settings: Settings, command: str, role: str) -> Iterator[Client]:
    """A client that speaks for the token's holder: `TEXTKEEP_TOKEN`, else, here, the one left in the archive's folder.

    `role` is one with which the command is of use. Raises Unauthenticated without a token, and like `reach`.
    """
    given = None if settings.token is None else settings.token.get_secret_value()
    token = given or (read_token(settings.folder) if settings.url is None else None)
    if token is None:
        raise Unauthenticated(
            f"`textkeep {command}` needs a token of your own, and there is none",
            field="TEXTKEEP_TOKEN",
            remedy=f"Set it; where the archive runs `textkeep token create --role {role} --for PERSON` makes one.",
        )
    if settings.url is None:
        with reach(settings, command) as client:
            client.speaks_for(token)
            yield client
        return
    with Client(settings.url, token, verify=trusting(settings.url_ca)) as client:
        yield client


def looking(settings: Settings, command: str, role: str) -> AbstractContextManager[Client]:
    """A client for what access to the files allows as well: with that here, with a token elsewhere. Raises likewise."""
    return reach(settings, command) if settings.url is None else asking(settings, command, role)
