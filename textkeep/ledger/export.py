"""The log as a folder of files that any web server can serve: C2SP tlog-tiles, `key`, and `leaves/SHELF`.

What is there already is not written again; the checkpoint comes last, so that whoever reads meanwhile finds all that it
speaks of. A partial tile goes when the full one is there. Everything in it is public: handles, counts, roots, times,
and the handles of responsible staff.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from textkeep.errors import Outage, Unsound
from textkeep.ledger import bundles, checkpoints, paths, tiles
from textkeep.ledger.checkpoints import Published
from textkeep.ledger.note import Checkpoint as Signed
from textkeep.ledger.note import NoteRefused, encode64, parse
from textkeep.store.engine import Store
from textkeep.store.evidence import leaves
from textkeep.store.tables import ledger_entries

FILE: Final = 0o644
FOLDER: Final = 0o755


@dataclass(frozen=True, slots=True)
class Exported:
    """The checkpoint's size, how many files were written, and of how many shelves the leaves are."""

    size: int
    files: int
    shelves: int


def export(store: Store, folder: Path, key: str) -> Exported:
    """Bring a folder up to the newest checkpoint. Raises Unsound where it is another log's, or a later one, and Outage.

    `key` is the verifier key as it is shown.
    """
    with store.reading() as connection:
        published = checkpoints.newest(connection)
        if published is None:
            raise Unsound("nothing is signed yet", remedy="Start the archive (`textkeep up`), then export.")
        before = _size_of(folder, published)
        try:
            writing = _Writing(folder)
            _tiles(connection, writing, published.size)
            _bundles(connection, writing, published.size)
            shelves = _leaves(connection, writing, before, published.size)
            writing.write(paths.KEY, f"{key}\n".encode())
            writing.write(paths.CHECKPOINT, published.served())
        except OSError as exc:
            raise Outage("the folder of the export cannot be written", retry_after=30) from exc
    return Exported(published.size, writing.files, shelves)


def tile(connection: Connection, level: int, number: int, width: int, size: int) -> bytes | None:
    """A tile of the tree of that size, or None where it has none of that width."""
    full, partial = paths.widths(level, size)
    if number > full or (number == full and width > partial):
        return None
    return tiles.hashes_of(connection, level, number, width)


def bundle(connection: Connection, number: int, width: int, size: int) -> bytes | None:
    """A bundle of the entries of the tree of that size, or None where there are not as many."""
    first = number * paths.TILE_WIDTH
    if first + width > size:
        return None
    within = (ledger_entries.c.leaf_index >= first, ledger_entries.c.leaf_index < first + width)
    found = connection.scalars(select(ledger_entries.c.entry).where(*within).order_by(ledger_entries.c.leaf_index))
    held = [entry.encode() for entry in found]
    return bundles.packed(held) if len(held) == width else None


def leaf_lines(connection: Connection, shelf: str) -> Iterator[bytes]:
    """The leaves of a shelf as JSON lines, by id: `id`, and `hashes`, base64 of 32 bytes each in bytewise order."""
    wanted = select(leaves.c.id, leaves.c.hashes).where(leaves.c.shelf == shelf).order_by(leaves.c.id)
    for row in connection.execute(wanted.execution_options(yield_per=100)):
        yield json.dumps({"id": row.id, "hashes": encode64(bytes(row.hashes))}).encode() + b"\n"


def _tiles(connection: Connection, writing: "_Writing", size: int) -> None:
    level = 0
    while size >> (paths.TILE_HEIGHT * level):
        full, partial = paths.widths(level, size)
        for number in range(full + bool(partial)):
            width = paths.TILE_WIDTH if number < full else partial
            path = paths.tile_path(level, number, width)
            if not writing.has(path):
                writing.write(path, tiles.hashes_of(connection, level, number, width))
                writing.tidy(paths.tile_path(level, number), full=number < full)
        level += 1


def _bundles(connection: Connection, writing: "_Writing", size: int) -> None:
    full, partial = paths.widths(0, size)
    for number in range(full + bool(partial)):
        width = paths.TILE_WIDTH if number < full else partial
        path = paths.bundle_path(number, width)
        if not writing.has(path):
            content = bundle(connection, number, width, size)
            if content is None:
                raise Unsound("entries that were signed are not in the database", remedy="`textkeep ledger status`.")
            writing.write(path, content)
            writing.tidy(paths.bundle_path(number), full=number < full)


def _leaves(connection: Connection, writing: "_Writing", before: int, size: int) -> int:
    """Write the leaves of the shelves that entries since the last export speak of, and give how many shelves."""
    spoken = select(ledger_entries.c.shelf).where(
        ledger_entries.c.leaf_index >= before, ledger_entries.c.leaf_index < size, ledger_entries.c.shelf.is_not(None)
    )
    named = sorted({*connection.scalars(spoken.distinct())})
    there = [name for name in named if connection.execute(select(leaves.c.id).where(leaves.c.shelf == name)).first()]
    for name in there:
        writing.write(paths.leaves_path(name), b"".join(leaf_lines(connection, name)))
    return len(there)


def _size_of(folder: Path, published: Published) -> int:
    """The size of the log that a folder holds; 0 where it is empty. Raises Unsound where it is another log's."""
    try:
        held = Signed.parse(parse((folder / paths.CHECKPOINT).read_bytes()).text)
    except FileNotFoundError:
        return 0
    except OSError as exc:
        raise Outage("the folder of the export cannot be read", retry_after=30) from exc
    except NoteRefused:
        held = None
    ours = Signed.parse(parse(published.note).text)
    if held is None or held.origin != ours.origin or held.size > ours.size:
        raise Unsound(
            "the folder holds another log, or a later one; nothing was written",
            field="DIR",
            remedy="Name an empty folder; or, where it is this log's, see `textkeep ledger status`.",
        )
    return held.size


class _Writing:
    """Files of a folder, each there whole or not at all, and readable by everybody."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = 0

    def has(self, path: str) -> bool:
        return (self._folder / path).is_file()

    def write(self, path: str, content: bytes) -> None:
        whole = self._folder / path
        for each in reversed([folder for folder in whole.parents if not folder.exists()]):
            each.mkdir(exist_ok=True)
            each.chmod(FOLDER)
        half = whole.with_name(f".{whole.name}.new")
        with half.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        half.chmod(FILE)
        half.replace(whole)
        self.files += 1

    def tidy(self, path: str, *, full: bool) -> None:
        """Take out the partial ones of a tile that is full now."""
        if full:
            shutil.rmtree(self._folder / f"{path}.p", ignore_errors=True)
