"""Bundles of entries, as C2SP tlog-tiles has them: each behind its length in 2 bytes, big-endian. Pure."""

from collections.abc import Iterable


def packed(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle. Raises OverflowError for one over 65,535 bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpacked(bundle: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ValueError where it ends within one."""
    found: list[bytes] = []
    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if at + 2 > len(bundle) or end > len(bundle):
            raise ValueError("a bundle of entries ends within an entry")
        found.append(bundle[at + 2 : end])
        at = end
    return found
