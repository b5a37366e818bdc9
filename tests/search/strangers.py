"""Somebody else in the same OpenSearch cluster."""

from opensearchpy import OpenSearch


class Stranger:
    """Somebody else in the same cluster, with a client that knows nothing of Textkeep."""

    def __init__(self, url: str) -> None:
        address, _, self.prefix = url.rpartition("/")
        scheme, _, nodes = address.partition("//")
        self.client = OpenSearch([f"{scheme}//{node}" for node in nodes.split(",")])

    def alias(self, shelf: str) -> str:
        """What a shelf is asked by."""
        return f"{self.prefix}-{shelf}"

    def names(self) -> set[str]:
        """Every index under the prefix."""
        return set(self.client.indices.get_alias(index=f"{self.prefix}-*"))

    def segments(self, shelf: str) -> list[int]:
        """In how many segments each copy of a shelf's index is asked."""
        (answer,) = self.client.indices.segments(index=self.alias(shelf))["indices"].values()
        copies = [copy["segments"].values() for copy in answer["shards"]["0"]]
        return [sum(each["search"] for each in segments) for segments in copies]
