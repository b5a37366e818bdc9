"""Which program a report comes from: its version, a digest of its source, and the module that did the cryptography."""

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cryptography.hazmat.backends.openssl import backend

import textkeep

_PACKAGE: Final = Path(textkeep.__file__).parent


@lru_cache(maxsize=1)
def build() -> dict[str, str]:
    """Version and digest: SHA-256 over the name and SHA-256 of every source file of the package, in order."""
    whole = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        whole.update(
            path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest()
        )
    return {"version": version("textkeep"), "digest": whole.hexdigest()}


@lru_cache(maxsize=1)
def crypto() -> dict[str, str]:
    """The cryptographic module and its version; no validated module is claimed."""
    return {
        "module": "cryptography",
        "version": version("cryptography"),
        "library": backend.openssl_version_text(),
        "validated": "not claimed",
    }
