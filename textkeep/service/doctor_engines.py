"""What is wrong with the engines an archive works on: database, keyring and index as servers.

What has to be asked of a server is asked in `asking`; each check is a small function of the answer.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, text

from textkeep.service.doctor import Finding
from textkeep.store.tables import coverage, nodes

OLDEST_SERVER: Final = 140_000
"""PostgreSQL 14, as the server numbers its versions: the oldest that is still mended."""

CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""From here on the clocks of host and database are worth a look; at 5 minutes no purge runs."""

CLOCKS_STOP: Final = timedelta(minutes=5)
COMPARED_LATE: Final = timedelta(hours=26)
SEEN_LATELY: Final = timedelta(seconds=60)

_SERVER: Final = text(
    "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,"
    " current_setting('fsync') = 'on' AS fsync, current_setting('full_page_writes') = 'on' AS full_pages,"
    " current_setting('synchronous_commit') <> 'off' AS synchronous,"
    " (SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user) AS powers,"
    " EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  WHERE n.nspname = current_schema() AND pg_has_role(c.relowner, 'MEMBER')) AS owns"
)


@dataclass(frozen=True, slots=True)
class Server:
    """What a PostgreSQL server tells of itself and of the role that asks."""

    number: int
    version: str
    fsync: bool
    full_pages: bool
    synchronous: bool
    powers: bool
    owns: bool


def asking(connection: Connection) -> Server:
    """Ask the server of a connection."""
    return Server(*connection.execute(_SERVER).one())


def check_version(server: Server) -> Finding:
    """The server is one that is still mended."""
    if server.number < OLDEST_SERVER:
        return Finding("database version", "warn", f"PostgreSQL {server.version}", "Upgrade to PostgreSQL 14 or later.")
    return Finding("database version", "ok", f"PostgreSQL {server.version}")


def check_role(server: Server) -> Finding:
    """The role that the service uses owns nothing: it cannot drop what a purge has not closed."""
    remedy = "Run `textkeep migrate --service-role NAME` as the owner, and let the service use that role."
    if server.powers:
        return Finding("database role", "warn", "the service's role may do more than a service needs", remedy)
    if server.owns:
        return Finding("database role", "warn", "the service's role owns the tables: it could drop any of them", remedy)
    return Finding("database role", "ok", "the service's role owns nothing")


def check_durable(server: Server) -> Finding:
    """What a commit acknowledges is on disk."""
    off = [
        name
        for name, on in (
            ("fsync", server.fsync),
            ("full_page_writes", server.full_pages),
            ("synchronous_commit", server.synchronous),
        )
        if not on
    ]
    if off:
        remedy = "Turn it on in postgresql.conf: what is acknowledged may otherwise be lost with the power."
        return Finding("database durability", "warn", f"{' and '.join(off)} off", remedy)
    return Finding("database durability", "ok", "what is committed is on disk")


def check_server_clock(now: datetime, theirs: datetime) -> Finding:
    """The clocks of host and database agree."""
    apart = abs(now - theirs)
    if apart < CLOCKS_DIFFER:
        return Finding("clocks", "ok", "the clocks of this machine and the database agree")
    stops = apart >= CLOCKS_STOP
    what = f"the clocks of this machine and the database are {apart.total_seconds():.0f} s apart"
    remedy = "Set the clocks right (NTP on both)." + (" No purge runs until then." if stops else "")
    return Finding("clocks", "fail" if stops else "warn", what, remedy)


def check_servers_apart(*, same: bool) -> Finding:
    """Keyring and data lie on different servers: no base backup and no write-ahead log holds both."""
    if same:
        remedy = "Move the keyring's database to another server, with backups of its own that are soon deleted."
        return Finding("keyring and data apart", "warn", "they lie on one server: its backups hold both", remedy)
    return Finding("keyring and data apart", "ok", "they lie on different servers")


def check_index_engine(warnings: Collection[str]) -> Iterator[Finding]:
    """The index's cluster is set up as it should be; `warnings` are its driver's."""
    for warning in warnings:
        yield Finding("index engine", "warn", warning, "Change it on the cluster; docs/deploy.md says how.")
    if not warnings:
        yield Finding("index engine", "ok", "OpenSearch is set up as it should be")


def check_nodes(kinds: Mapping[str, int], silent: int) -> Finding:
    """The processes that an archive needs are there; `silent` ones have stopped without leaving."""
    shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    missing = [kind for kind in ("follow", "keep") if not kinds.get(kind) and not kinds.get("up")]
    if missing:
        remedy = f"Start {' and '.join(f'`textkeep {kind}`' for kind in missing)}."
        return Finding("processes", "warn", f"running: {shown}", remedy)
    if silent:
        return Finding("processes", "warn", f"running: {shown}; {silent} went silent", "Look whether they crashed.")
    return Finding("processes", "ok", f"running: {shown}")


def check_coverage(expected: int, found: int, compared: datetime | None, now: datetime) -> Finding:
    """Index and texts were compared lately, and the index held all of them; `compared` is None where none were."""
    if compared is None:
        return Finding("coverage", "ok", "there was nothing yet to compare with the index")
    if now - compared > COMPARED_LATE:
        what = "index and texts were not compared lately"
        return Finding("coverage", "warn", what, "`textkeep keep` compares them every hour: does it run?")
    if found < expected:
        what = f"{expected - found} of {expected} texts were not in the index when it was compared"
        return Finding("coverage", "warn", what, "It is being mended; if this stays, `textkeep rebuild`.")
    return Finding("coverage", "ok", f"the index held all of {expected} texts when it was compared")


def check_shared(connection: Connection, now: datetime) -> Iterator[Finding]:
    """Every check that the shared database answers."""
    seen = connection.execute(select(nodes.c.kind, nodes.c.seen_at)).all()
    alive = [row.kind for row in seen if row.seen_at > now - SEEN_LATELY and row.kind != "command"]
    yield check_nodes(
        {kind: alive.count(kind) for kind in alive}, sum(row.seen_at <= now - SEEN_LATELY for row in seen)
    )
    sums = [func.coalesce(func.sum(column), 0) for column in (coverage.c.expected, coverage.c.found)]
    row = connection.execute(select(*sums, func.min(coverage.c.at))).one()
    yield check_coverage(int(row[0]), int(row[1]), row[2], now)
