"""What a shelf's index is called in OpenSearch, how it is laid out, and what of it a listing shows. Pure.

PREFIX-SHELF             an alias: what is written to and asked
PREFIX-SHELF-g1, -g2 ... an index; the alias leads to one of them
PREFIX-SHELF-beside      an alias of the index that is being made to take its place
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from textkeep.archive.shelf import Day

MAPPINGS: Final[Mapping[str, Any]] = {
    "dynamic": "strict",
    "_source": {"enabled": False},
    "properties": {
        "text": {"type": "keyword", "index": False},
        "at": {"type": "long"},
        "slice": {"type": "long", "index": False},
        "segments": {"type": "short", "index": False},
        "terms": {"type": "keyword", "doc_values": False, "norms": False, "index_options": "docs"},
    },
}
"""`text` and `at` are what answers are sorted by and read from; nothing of a document is stored as it came."""

SETTINGS: Final[Mapping[str, Any]] = {
    "index": {
        "number_of_shards": 1,
        "auto_expand_replicas": "0-1",
        "refresh_interval": "-1",
        "requests.cache.enable": False,
        "translog.durability": "request",
        "translog.flush_threshold_size": "64mb",
    }
}
"""One shard; a copy wherever there is a second data node; on disk when a write is answered; refreshed by us alone.

What a copy would be brought up to date from is let go of when segments are merged, if what they hold was flushed by
then: with the usual 512 MB an index of a million texts is half as large again.
"""

_OWNER: Final = "archive"
"""What of a mapping's `_meta` tells whose index it is."""


def mappings(owner: str | None) -> Mapping[str, Any]:
    """The layout of an index, and the archive that it belongs to."""
    return MAPPINGS if owner is None else {**MAPPINGS, "_meta": {_OWNER: owner}}


def owner_in(found: Mapping[str, Any]) -> str | None:
    """The archive that a mapping names; None where it names none."""
    owner = found.get("mappings", {}).get("_meta", {}).get(_OWNER)
    return None if owner is None else str(owner)


_SHELF: Final = re.compile(r"\d{4}-\d{2}-\d{2}|kept-[0-9a-f]{16}-\d+")
_GENERATION: Final = re.compile(r"-g(\d+)")


class Found(NamedTuple):
    """What the engine has of one shelf: the indices of ours that its alias leads to, and every other one."""

    live: tuple[str, ...]
    others: tuple[str, ...]


class Names:
    """The names under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._ours = re.compile(rf"{re.escape(prefix)}-({_SHELF.pattern})(-.+)?")

    @property
    def every(self) -> str:
        """A pattern for all of them, and perhaps for those of a longer prefix."""
        return f"{self.prefix}-*"

    def alias(self, shelf: str) -> str:
        """What a shelf is written to and asked by. Raises ValueError for what is no shelf's name."""
        if not _SHELF.fullmatch(shelf):
            raise ValueError("not a shelf's name")
        return f"{self.prefix}-{shelf}"

    def beside(self, shelf: str) -> str:
        """What a shelf that is made anew is written to until it is whole."""
        return f"{self.alias(shelf)}-beside"

    def index(self, shelf: str, generation: int) -> str:
        """An index of a shelf."""
        return f"{self.alias(shelf)}-g{generation}"

    def patterns(self, shelf: str) -> tuple[str, str]:
        """What a shelf's indices may be called; also copies that somebody made under a longer name."""
        return self.alias(shelf), f"{self.alias(shelf)}-*"

    def shelf(self, name: str) -> str | None:
        """The shelf that an index or alias belongs to; None where it is none of ours."""
        found = self._ours.fullmatch(name)
        return found[1] if found and _is_shelf(found[1]) else None

    def shelves(self, index: str, aliases: Collection[str]) -> set[str]:
        """The shelves that an index belongs to by any of its names."""
        return {shelf for name in (index, *aliases) if (shelf := self.shelf(name)) is not None}

    def generation(self, index: str) -> int:
        """The number of an index; 0 for one that we did not make."""
        shelf = self.shelf(index)
        found = shelf and _GENERATION.fullmatch(index, len(self.alias(shelf)))
        return int(found[1]) if found else 0

    def made_by_us(self, shelf: str, index: str) -> bool:
        """Whether an index has a name that we give, or stands where the alias should: not somebody's own copy."""
        return index == self.alias(shelf) or self.generation(index) > 0

    def found(self, shelf: str, listing: Mapping[str, Collection[str]]) -> Found:
        """What a listing (indices and their aliases) shows of a shelf; of several live ones the newest comes first."""
        alias = self.alias(shelf)
        mine = [each for each in listing if shelf in self.shelves(each, listing[each])]
        own = sorted(mine, key=self.generation, reverse=True)
        live = tuple(each for each in own if alias in listing[each] and self.generation(each))
        return Found(live, tuple(each for each in own if each not in live))


def _is_shelf(name: str) -> bool:
    if name.startswith("kept-"):
        return True
    try:
        return Day.named(name).shelf == name
    except ValueError:
        return False
