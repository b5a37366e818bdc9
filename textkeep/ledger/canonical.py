"""Canonical JSON, RFC 8785, read strictly: what has another form than its canonical one is refused. Pure."""

import json
from typing import Any, Final

import rfc8785

MAX_BYTES: Final = 64_000_000
"""The largest document that is read."""


class NotCanonical(ValueError):
    """Something is not a JSON object in its canonical form."""


def read(content: bytes) -> dict[str, Any]:
    """The object that these bytes are the canonical form of. Raises NotCanonical, also for repeated members."""
    if len(content) > MAX_BYTES:
        raise NotCanonical(f"a document has at most {MAX_BYTES} bytes")
    try:
        found = json.loads(content)
        again = rfc8785.dumps(found)
    except (ValueError, RecursionError):
        raise NotCanonical("it is not JSON that RFC 8785 can carry") from None
    if not isinstance(found, dict):
        raise NotCanonical("it is no JSON object")
    if again != content:
        raise NotCanonical("it is JSON, but not in the canonical form of RFC 8785")
    return found
