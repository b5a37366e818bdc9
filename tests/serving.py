"""Routes of one room behind a real server, with real tokens."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
from fastapi import APIRouter, FastAPI

from tests.housing import House
from textkeep.access.principal import LOCAL, Principal
from textkeep.access.tokens import Tokens
from textkeep.archive.marking import marking
from textkeep.ledger import log
from textkeep.service import problems
from textkeep.service.listening import Listening

MAKER = Principal(b"\x09" * 8, LOCAL, frozenset({"operator"}), None)


@dataclass
class Serving:
    """A server, and clients for whoever is wanted."""

    house: House
    tokens: Tokens
    app: FastAPI
    url: str
    open: ExitStack

    def client(self, *roles: str, orgs: Collection[str] | None = None, person: str = "somebody") -> httpx.Client:
        """A client whose token has these roles, for these organisations or for all."""
        handles = None if orgs is None else [self.house.organisations.register(org) for org in orgs]
        token, _ = self.tokens.create(person=person, roles=roles, orgs=handles, by=MAKER)
        headers = {"Authorization": f"Bearer {token}"}
        return self.open.enter_context(httpx.Client(base_url=self.url, headers=headers, timeout=60))

    def stranger(self) -> httpx.Client:
        """A client without a token."""
        return self.open.enter_context(httpx.Client(base_url=self.url, timeout=60))


@contextmanager
def serving(house: House, routes: APIRouter) -> Iterator[Serving]:
    """Serve `routes` on loopback until the block ends."""
    tokens = Tokens(
        house.store,
        house.persons,
        house.clock,
        lambda connection, body: log.append(connection, "token", body, now=house.clock()),
        marking(house.keyring),
    )
    app = FastAPI(responses=problems.RESPONSES)
    app.state.tokens = tokens
    problems.install(app)
    app.include_router(routes)
    listening = Listening(app)
    with ExitStack() as opened:
        opened.callback(listening.close)
        yield Serving(house, tokens, app, listening.url, opened)
