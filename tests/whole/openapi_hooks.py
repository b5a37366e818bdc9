"""What schemathesis cannot know of the API: how a stream is written, and the names of what there is.

It loads this module by the environment variable SCHEMATHESIS_HOOKS; NAMES is a JSON object of path parameters.
"""

import json
import os
from typing import Any, Final
from zlib import crc32

import schemathesis
from schemathesis import HookContext, SerializationContext

NAMES: Final = "OPENAPI_HOOKS_NAMES"

_names: Final[dict[str, str]] = json.loads(os.environ.get(NAMES, "{}"))


@schemathesis.serializer("application/x-ndjson")
def write_stream(_: SerializationContext, value: Any) -> bytes:
    """A generated body as the lines of a stream."""
    if isinstance(value, bytes):
        return value
    written = value if isinstance(value, str) else json.dumps(value)
    return written.encode("utf-8", "surrogatepass")


@schemathesis.hook
def map_path_parameters(_: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Every other time the name of something that is there, so that more than `not-found` is answered."""
    return {name: _names.get(name, value) if _even(value) else value for name, value in (path_parameters or {}).items()}


def _even(value: object) -> bool:
    return crc32(repr(value).encode()) % 2 == 0
