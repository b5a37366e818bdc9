"""Somebody else in the same OpenSearch cluster."""

from opensearchpy import OpenSearch


class Stranger:
    """Somebody else in the same cluster, with a client that knows nothing of Textkeep."""

    def __init__(self, url: str) -> None:
        address, _, self.prefix = url.rpartition("/")
        self.client = OpenSearch(address)

    def alias(self, shelf: str) -> str:
        """What a shelf is asked by."""
        return f"{self.prefix}-{shelf}"

    def names(self) -> set[str]:
        """Every index under the prefix."""
        return set(self.client.indices.get_alias(index=f"{self.prefix}-*"))
