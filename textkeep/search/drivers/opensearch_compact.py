"""Merging an index that takes hardly anything more into one segment.

A segment keeps for each document what it came as, to bring a copy up to date from, until it is merged: after that an
index takes a third of the room, is asked faster, and is gone sooner when it is dropped.
"""

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from opensearchpy import NotFoundError, OpenSearch

from textkeep.search.drivers.opensearch_errors import Refused
from textkeep.search.drivers.opensearch_http import Cluster

WHOLE: Final = 0.9
"""The share of a copy's documents that one segment holds of an index that is left as it is: so however often a little
is added, a document is written anew ten times at most while as much is added again."""

LOOK_SECONDS: Final = 0.25
"""How often it is looked whether a merge is done."""

_SEGMENTS: Final = ",".join(
    f"indices.*.shards.*.segments.*.{part}" for part in ("num_docs", "deleted_docs", "committed", "search")
)
_FAILED: Final = 500


def compact(cluster: Cluster, alias: str, leaving: threading.Event) -> bool:
    """Merge the index behind an alias where it lies in several pieces; whether that was done. Raises Refused.

    Where `leaving` is set the cluster merges on, and the next call makes what came of it the one that is asked.
    """
    if not cluster.call(partial(_in_pieces, alias)):
        return False
    cluster.refresh([alias])
    if cluster.call(partial(_in_pieces, alias)):
        task = cluster.call(partial(_begin, alias))
        while not cluster.call(partial(_is_done, task)):
            if leaving.wait(LOOK_SECONDS):
                return False
        cluster.refresh([alias])
    return True


def _in_pieces(alias: str, client: OpenSearch) -> bool:
    """Whether a copy is asked in several segments of which none has nearly all, or was merged and is not asked so."""
    answer = client.indices.segments(index=alias, params={"filter_path": _SEGMENTS})
    copies = [
        list(copy["segments"].values())
        for index in answer.get("indices", {}).values()
        for shard in index["shards"].values()
        for copy in shard
    ]
    return any(_is_in_pieces(segments) for segments in copies)


def _is_in_pieces(segments: list[Mapping[str, Any]]) -> bool:
    if any(each["committed"] and not each["search"] for each in segments):
        return True
    sizes = [each["num_docs"] + each["deleted_docs"] for each in segments if each["search"]]
    return len(sizes) > 1 and max(sizes) < WHOLE * sum(sizes)


def _begin(alias: str, client: OpenSearch) -> str:
    # What is not flushed by then a merge does not let go of.
    flushed = client.indices.flush(index=alias)
    if flushed["_shards"]["failed"]:
        raise Refused(_FAILED)
    params = {"max_num_segments": "1", "wait_for_completion": "false"}
    return str(client.indices.forcemerge(index=alias, params=params)["task"])


def _is_done(task: str, client: OpenSearch) -> bool:
    try:
        told = client.tasks.get(task_id=task)
    except NotFoundError:  # its node was started again; the next look at the index tells
        return True
    if not told["completed"]:
        return False
    if "error" in told or told["response"]["_shards"]["failed"]:
        raise Refused(_FAILED, told.get("error"))
    return True
