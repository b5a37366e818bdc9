"""What a cluster is told once: a template for our names, and not to make an index of such a name by itself."""

import threading
from typing import Any, Final

from opensearchpy import OpenSearch

from textkeep.search.drivers.opensearch_errors import Refused, foreign, too_old
from textkeep.search.drivers.opensearch_http import Cluster
from textkeep.search.drivers.opensearch_names import SETTINGS, Names, mappings, owner_in

OLDEST: Final = (2, 19)
"""The oldest version that has everything we ask for."""

SPARE_SHARDS: Final = 100
"""Shards that the cluster should have room for; a day takes one, and one for each copy."""

LOOKS: Final = 3
"""How often it is looked whether a change of a setting has stayed."""

AUTO_CREATE: Final = "action.auto_create_index"
MAX_SHARDS: Final = "cluster.max_shards_per_node"
_DEFAULT_MAX_SHARDS: Final = 1_000
_TEMPLATES: Final = "index_templates.name,index_templates.index_template.template.mappings._meta"
_NOT_ALLOWED: Final = frozenset({401, 403})


class Setup:
    """Prepares a cluster, once in a process, and tells what is amiss with it."""

    def __init__(self, cluster: Cluster, names: Names, owner: str | None) -> None:
        self._cluster = cluster
        self._names = names
        self._owner = owner
        self._preparing = threading.Lock()
        self._prepared = False
        self._ours = owner is None

    def must_be_ours(self, *, again: bool = False) -> None:
        """Raises Unsound where what bears our prefix belongs to another archive; looks once, or `again`.

        What tells no owner counts as ours: it was made before owners were told.
        """
        if self._owner is None or (self._ours and not again):
            return
        for look in (self._index_owners, self._template_owners):
            try:
                owners = self._cluster.call(look)
            except Refused as refused:
                if refused.status not in _NOT_ALLOWED:
                    raise
                continue
            if owners - {self._owner, None}:
                raise foreign(self._names.prefix)
        self._ours = True

    def prepare(self) -> None:
        """Make the cluster ready for our indices. Raises Refused, and Unsound for an engine that is not known.

        Where our user may not change the template or the cluster's settings, it goes on: each index is made with its
        own layout, and every write requires an alias. `warnings` tells.
        """
        with self._preparing:
            if self._prepared:
                return
            self._cluster.call(_must_be_known)
            for step in (self._put_template, self._forbid_auto_create):
                try:
                    self._cluster.call(step)
                except Refused as refused:
                    if refused.status not in _NOT_ALLOWED:
                        raise
            self._prepared = True

    def warnings(self) -> list[str]:
        """What an operator should know, a sentence each. Raises Refused and Unsound."""
        self._cluster.call(_must_be_known)
        found = []
        try:
            settings = self._cluster.call(_settings)
        except Refused as refused:
            if refused.status not in _NOT_ALLOWED:
                raise
            found.append("the index user may not read the cluster's settings")
        else:
            if not _forbids(settings.get(AUTO_CREATE, "true"), self._names.every):
                found.append(
                    f"the cluster makes indices by itself: set {AUTO_CREATE} to -{self._names.every},+*"
                    " so that no other program brings a purged day back"
                )
            found += self._of_shards(int(settings.get(MAX_SHARDS, _DEFAULT_MAX_SHARDS)))
        return found

    def _of_shards(self, most: int) -> list[str]:
        health = self._cluster.call(lambda client: client.cluster.health())
        nodes = health["number_of_data_nodes"]
        ours = self._cluster.call(lambda client: client.cluster.health(index=self._names.every))
        found = []
        if nodes < 2:
            found.append("the index has one data node: there is no copy of a shard while that node is away")
        if ours["status"] == "red":
            found.append("a part of the index is out of reach: no node has its shard")
        elif ours["unassigned_shards"]:
            found.append("a part of the index has no copy at the moment")
        room = most * nodes - health["active_shards"] - health["unassigned_shards"]
        if room < SPARE_SHARDS:
            found.append(
                f"the cluster has room for {max(room, 0)} more shards only: raise {MAX_SHARDS} or add a data node"
            )
        return found

    def _index_owners(self, client: OpenSearch) -> set[str | None]:
        found = client.indices.get_mapping(
            index=self._names.every,
            expand_wildcards="all",
            ignore_unavailable="true",
            allow_no_indices="true",
            params={"filter_path": "*.mappings._meta"},
        )
        return {owner_in(each) for name, each in found.items() if self._names.shelf(name) is not None}

    def _template_owners(self, client: OpenSearch) -> set[str | None]:
        found = client.indices.get_index_template(params={"filter_path": _TEMPLATES})
        ours = [each for each in found.get("index_templates", ()) if each["name"] == self._names.prefix]
        return {owner_in(each.get("index_template", {}).get("template", {})) for each in ours}

    def _put_template(self, client: OpenSearch) -> None:
        # Of two prefixes of which one begins with the other, the longer one is meant.
        body = {
            "index_patterns": [self._names.every],
            "priority": 100 + len(self._names.prefix),
            "template": {"settings": SETTINGS, "mappings": mappings(self._owner)},
        }
        client.indices.put_index_template(name=self._names.prefix, body=body)

    def _forbid_auto_create(self, client: OpenSearch) -> None:
        # The setting is one for all: another archive that changes it at the same moment may undo what was done here.
        for _ in range(LOOKS):
            answer = client.cluster.get_settings(flat_settings="true")
            layer = "transient" if AUTO_CREATE in answer["transient"] else "persistent"
            now = answer[layer].get(AUTO_CREATE, "true")
            if _forbids(now, self._names.every):
                return
            others = "+*" if now == "true" else now
            client.cluster.put_settings(body={layer: {AUTO_CREATE: f"-{self._names.every},{others}"}})


def _must_be_known(client: OpenSearch) -> None:
    version = client.info()["version"]
    numbers = tuple(int(each) for each in str(version.get("number", "0")).split("-")[0].split(".")[:2])
    if version.get("distribution") != "opensearch" or numbers < OLDEST:
        raise too_old()


def _settings(client: OpenSearch) -> dict[str, Any]:
    answer = client.cluster.get_settings(flat_settings="true", include_defaults="true")
    return {**answer.get("defaults", {}), **answer["persistent"], **answer["transient"]}


def _forbids(setting: str | list[str], pattern: str) -> bool:
    """Whether a value of the setting keeps names of a pattern from being made; the first part that fits decides."""
    parts = setting if isinstance(setting, list) else setting.split(",")
    for each in (part.strip() for part in parts):
        if each in ("false", f"-{pattern}", "-*"):
            return True
        if each in ("true", "+*", "*", f"+{pattern}", pattern):
            return False
    return True
