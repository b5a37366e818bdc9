"""moto's server, with what AWS documents of a key's states and moto leaves out.

A key that is disabled seals and opens nothing (DisabledException); neither does one that waits for its deletion
(KMSInvalidStateException); one whose waiting period has ended is not there (NotFoundException). Source: "Key states of
AWS KMS keys" in the AWS KMS Developer Guide. The file in the first argument says how many days later than now it is.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.utils import utcnow
from moto.kms.models import KmsBackend
from moto.server import main

BACKEND: Any = KmsBackend


class KMSInvalidStateException(JsonRESTError):
    code = 400


class DisabledException(JsonRESTError):
    code = 400


class NotFoundException(JsonRESTError):
    code = 400


def add_states(days: Path) -> None:
    """Have moto's backend look at a key's state, as KMS does."""

    def key_of(backend: Any, key_id: str) -> Any:
        key = backend.keys[backend.any_id_to_key_id(key_id)]
        later = timedelta(days=float(days.read_text() or 0))
        if key.deletion_date is not None and utcnow() + later >= key.deletion_date.replace(tzinfo=None):
            raise NotFoundException("NotFoundException", "the key does not exist")
        return key

    def usable(backend: Any, key_id: str) -> None:
        key = key_of(backend, key_id)
        if key.key_state == "PendingDeletion":
            raise KMSInvalidStateException("KMSInvalidStateException", "the key is pending deletion")
        if key.key_state == "Disabled":
            raise DisabledException("DisabledException", "the key is disabled")

    encrypt, decrypt, describe = BACKEND.encrypt, BACKEND.decrypt, BACKEND.describe_key

    def checked_encrypt(self: Any, key_id: str, **more: Any) -> Any:
        usable(self, key_id)
        return encrypt(self, key_id=key_id, **more)

    def checked_decrypt(self: Any, *, key_id: str | None = None, **more: Any) -> Any:
        if key_id is not None:
            usable(self, key_id)
        return decrypt(self, key_id=key_id, **more)

    def checked_describe(self: Any, key_id: str) -> Any:
        key_of(self, key_id)
        return describe(self, key_id)

    BACKEND.encrypt, BACKEND.decrypt, BACKEND.describe_key = checked_encrypt, checked_decrypt, checked_describe


if __name__ == "__main__":
    add_states(Path(sys.argv[1]))
    main(sys.argv[2:])
