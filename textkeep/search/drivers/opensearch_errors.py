"""What an OpenSearch cluster's refusals mean to the house. Pure; nothing of a refusal's own words leaves this module,
because they may quote a document."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from textkeep.errors import Fault, Outage, TextkeepError, Unsound
from textkeep.search.index import NoIndex

RETRY_AFTER: Final = 5
"""Seconds after which a caller may try again when the index does not answer."""

_BUSY: Final = frozenset({429, 502, 503, 504})
_NOT_ALLOWED: Final = frozenset({401, 403})
_TOO_LARGE: Final = 413

_DISK: Final = (
    "Free disk space on the OpenSearch nodes, or add some; they take writes again by themselves below the mark."
)
_SHARDS: Final = (
    "Raise `cluster.max_shards_per_node` or add a data node: Textkeep needs some 440 shards, twice with copies."
)
_CREDENTIALS: Final = "Check the user and password of INDEX_URL, and that the user may do what docs/search.md lists."
_CERTIFICATE: Final = "Name the authority that signed the nodes' certificates: `?ca=FILE` in INDEX_URL."
_BODY: Final = "Let what stands between Textkeep and OpenSearch pass requests of 16 MB."
_SNAPSHOT: Final = "Wait until the snapshot is done; the next run does it again."


class Refused(Exception):
    """What the engine, or what stands before it, answered instead of doing what it was told. Stays in this driver."""

    def __init__(self, status: int, error: Any = None, *, index: str | None = None) -> None:
        super().__init__(status)
        found = list(_nested(error))
        self.status = status
        self.index = next((str(each["index"]) for each in found if "index" in each), index)
        self.kinds = frozenset(str(each.get("type")) for each in found)
        self._words = " ".join(str(each.get("reason")) for each in found) if found else str(error)

    def says(self, words: str) -> bool:
        """Whether its reason has these words."""
        return words in self._words

    @property
    def missing(self) -> bool:
        """An index or alias is not there."""
        return self.status == 404 and "index_not_found_exception" in self.kinds

    @property
    def exists(self) -> bool:
        """What should be made is there."""
        return "resource_already_exists_exception" in self.kinds

    @property
    def no_space(self) -> bool:
        """The disk is as full as OpenSearch lets it become."""
        return "cluster_block_exception" in self.kinds and (
            self.says("flood-stage") or self.says("read-only-allow-delete") or self.says("create-index blocked")
        )

    @property
    def busy(self) -> bool:
        """The same request may well succeed in a moment."""
        return self.status in _BUSY and not self.no_space


class Unreachable(Refused):
    """No node answered, or not in time, or not as OpenSearch does."""

    def __init__(self, detail: str, remedy: str | None = None) -> None:
        super().__init__(0)
        self.detail = detail
        self.remedy = remedy

    @classmethod
    def not_trusted(cls) -> "Unreachable":
        """The certificate of a node was not accepted."""
        return cls("the certificate of an index node is not trusted", _CERTIFICATE)


def in_words(refused: Refused, shelf: str | None = None) -> TextkeepError:
    """What a refusal means; `shelf` is the one that it was about."""
    if isinstance(refused, Unreachable):
        return _outage(refused.detail, refused.remedy)
    if refused.missing:
        return NoIndex("a day has no index", shelf=shelf)
    if refused.no_space:
        return _outage("the index takes no writes: the disk of an index node is nearly full", _DISK)
    if refused.says("maximum") and refused.says("shards open"):
        return _outage("the index takes no further day: the cluster has as many shards as it may have", _SHARDS)
    if "snapshot_in_progress_exception" in refused.kinds:
        return _outage("an index cannot be removed while a snapshot is taken of it", _SNAPSHOT)
    if "index_closed_exception" in refused.kinds:
        return _outage("an index is closed", "Open the index again.")
    if "cluster_block_exception" in refused.kinds and refused.status == 403:
        return _outage("the index is blocked", "Remove the block that somebody put on the index or the cluster.")
    if refused.status in _NOT_ALLOWED:
        return _outage("the index refuses this user", _CREDENTIALS)
    if refused.status == _TOO_LARGE:
        return _outage("a request is too large for what stands before the index", _BODY)
    if refused.busy or refused.status >= 500:
        return _outage("the index is overloaded, or a part of it is out of reach")
    return Fault(f"the index refused a request with status {refused.status}")


def too_old() -> Unsound:
    """What answers is no OpenSearch that this driver knows."""
    return Unsound("what answers at INDEX_URL is not OpenSearch 2.19 or later", field="INDEX_URL")


def foreign(prefix: str) -> Unsound:
    """What bears our prefix belongs to another archive."""
    return Unsound(
        f"the indices under the prefix {prefix} belong to another archive; none of them was touched",
        field="TEXTKEEP_INDEX_URL",
        remedy="Give each archive a prefix of its own: the path of INDEX_URL. Where the other archive is gone for good,"
        f" delete the indices {prefix}-* and the index template {prefix}.",
    )


def _outage(detail: str, remedy: str | None = None) -> Outage:
    return Outage(detail, retry_after=RETRY_AFTER, remedy=remedy)


def _nested(error: Any) -> Iterator[Mapping[str, Any]]:
    """An error and those that caused it."""
    if isinstance(error, list):
        for each in error:
            yield from _nested(each)
    elif isinstance(error, Mapping):
        if isinstance(error.get("type"), str):
            yield error
        for name in ("error", "root_cause", "caused_by", "failed_shards", "reason"):
            yield from _nested(error.get(name))
