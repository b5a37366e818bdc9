"""Root keys in AWS KMS: a key each, whose bytes never leave it, and which is gone after its waiting period."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from textkeep.archive.ring import Fate
from textkeep.errors import Outage, Unsound

SETTING: Final = "TEXTKEEP_ROOT_KEY"
SHORTEST_WAIT: Final = 7
LONGEST_WAIT: Final = 30
"""Days that KMS lets a key wait for its deletion."""

CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 10
RETRY_AFTER: Final = 10

SEEN_WITHIN: Final = 60.0
"""Seconds within which a new key must be there for every part of KMS: its answers agree only after a while."""

LOOK_AGAIN: Final = 0.5

_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_GOING: Final = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
_GONE: Final = "NotFoundException"
_NOT_OURS: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException", "ValidationException"})
_STATE: Final = frozenset({"KMSInvalidStateException", "DisabledException"})
_MAY_NOT: Final = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature"}
    | {"MissingAuthenticationTokenException", "InvalidClientTokenId", "OptInRequired"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Which KMS: its region, an address of its own where it has one (a VPC's, say), and the keys' waiting period."""

    region: str
    endpoint: str | None = None
    waiting_days: int = SHORTEST_WAIT


class AwsRoot:
    """`Root` over KMS keys, one a root; an alias names keyring, use and key, and is how they are found again.

    A data key is wrapped by `Encrypt`, with the root's id in the encryption context. Forgetting a root schedules its
    deletion and takes its alias away: from then on nothing opens what it sealed, unless somebody who may do so in that
    account cancels the deletion before the waiting period has ended. `fate` says when that is.
    """

    kind = "aws"

    def __init__(self, place: Place, group: str) -> None:
        """Nothing is asked of KMS yet. Credentials are found as boto3 finds them."""
        self.waiting: timedelta | None = timedelta(days=place.waiting_days)
        self._days = place.waiting_days
        self._aliases = f"alias/textkeep/{group}/"
        self._group = group
        with _translated():
            self._kms: Any = boto3.session.Session().client(
                "kms",
                region_name=place.region,
                endpoint_url=place.endpoint,
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=ANSWER_SECONDS,
                    retries={"total_max_attempts": 3, "mode": "standard"},
                ),
            )

    def create(self) -> str:
        """A new key, once KMS seals with it."""
        with _translated():
            made = self._kms.create_key(
                KeySpec="SYMMETRIC_DEFAULT",
                KeyUsage="ENCRYPT_DECRYPT",
                Description="A root key of Textkeep. Textkeep schedules its deletion by itself.",
                Tags=[{"TagKey": "textkeep", "TagValue": self._group}],
            )
            root = str(made["KeyMetadata"]["KeyId"])
            _once_seen(lambda: self._kms.create_alias(AliasName=self._aliases + root, TargetKeyId=root))
            _once_seen(lambda: self._kms.encrypt(KeyId=root, Plaintext=b"seen", EncryptionContext=_context(root)))
        return root

    def wrap(self, root: str, key: bytes) -> bytes:
        """The data key, sealed by KMS. Raises Unsound where the root is gone."""
        _check(root)
        with _translated():
            sealed = self._kms.encrypt(KeyId=root, Plaintext=key, EncryptionContext=_context(root))
        return bytes(sealed["CiphertextBlob"])

    def unwrap(self, root: str, wrapped: bytes) -> bytes:
        """The key that `wrap` sealed. Raises Unsound where the root is gone or the bytes are not its own."""
        _check(root)
        if not wrapped:
            raise _not_sealed()
        with _translated():
            opened = self._kms.decrypt(KeyId=root, CiphertextBlob=wrapped, EncryptionContext=_context(root))
        return bytes(opened["Plaintext"])

    def forget(self, root: str) -> None:
        """Schedule the key's deletion. From then on it opens nothing."""
        if root not in self.known():
            return
        with _translated():
            try:
                self._kms.schedule_key_deletion(KeyId=root, PendingWindowInDays=self._days)
            except ClientError as exc:
                if not (_code(exc) == _GONE or (_code(exc) in _STATE and self._fate(root).ends_at)):
                    raise
            # Last: a key without its alias is not looked for any more.
            try:
                self._kms.delete_alias(AliasName=self._aliases + root)
            except ClientError as exc:
                if _code(exc) != _GONE:
                    raise

    def known(self) -> set[str]:
        """The ids that this keyring's aliases name."""
        with _translated():
            pages = self._kms.get_paginator("list_aliases").paginate()
            names = [str(alias["AliasName"]) for page in pages for alias in page["Aliases"]]
        return {name.removeprefix(self._aliases) for name in names if name.startswith(self._aliases)}

    def fate(self, root: str) -> Fate:
        """Gone from KMS, or waiting for its deletion, or there."""
        _check(root)
        with _translated():
            return self._fate(root)

    def _fate(self, root: str) -> Fate:
        try:
            told = self._kms.describe_key(KeyId=root)["KeyMetadata"]
        except ClientError as exc:
            if _code(exc) != _GONE:
                raise
            return Fate(gone=True)
        going = told["KeyState"] in _GOING and told.get("DeletionDate")
        return Fate(gone=False, ends_at=told["DeletionDate"].astimezone(UTC) if going else None)


def place_of(address: str) -> Place:
    """What `aws:REGION?endpoint=URL&waiting-days=N` says. Raises Unsound."""
    scheme, _, rest = address.partition(":")
    region, _, query = rest.partition("?")
    asked = dict(parse_qsl(query, keep_blank_values=True))
    days = asked.get("waiting-days", str(SHORTEST_WAIT))
    known = asked.keys() <= {"endpoint", "waiting-days"} and days.isdigit()
    if scheme != "aws" or not re.fullmatch(r"[a-z0-9-]+", region) or not known:
        raise _no_address()
    if not SHORTEST_WAIT <= int(days) <= LONGEST_WAIT:
        raise Unsound(
            f"a KMS key waits {SHORTEST_WAIT} to {LONGEST_WAIT} days for its deletion",
            field=SETTING,
            remedy="Write waiting-days=7.",
        )
    return Place(region, asked.get("endpoint"), int(days))


def _no_address() -> Unsound:
    return Unsound(
        "the address of the KMS is not of its documented form",
        field=SETTING,
        remedy="Write aws:eu-central-1?waiting-days=7.",
    )


def _check(root: str) -> None:
    if not _ID.fullmatch(root):
        raise _missing()


def _context(root: str) -> dict[str, str]:
    return {"textkeep-root": root}


def _once_seen(ask: Callable[[], object]) -> None:
    """Ask again while a part of KMS has not heard of a new key yet."""
    until = time.monotonic() + SEEN_WITHIN
    while True:
        try:
            ask()
        except ClientError as exc:
            if _code(exc) == "AlreadyExistsException":
                return
            if _code(exc) != _GONE or time.monotonic() > until:
                raise
            time.sleep(LOOK_AGAIN)
        else:
            return


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def _missing() -> Unsound:
    return Unsound(
        "the root key of the keyring is not in KMS",
        field=SETTING,
        remedy="Name the account and region that hold it. A key that was deleted does not come back; restore the"
        " keyring from a backup (`textkeep keyring restore`).",
    )


def _not_sealed() -> Unsound:
    return Unsound("the keyring was not sealed under this root")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as exc:
        raise Unsound("there are no credentials for KMS", field=SETTING) from exc
    except ClientError as exc:
        raise _problem(_code(exc)) from exc
    except (BotoCoreError, ValueError) as exc:
        if isinstance(exc, ValueError):  # an endpoint that is no address
            raise _no_address() from None
        raise Outage("KMS does not answer", retry_after=RETRY_AFTER) from exc


def _problem(code: str) -> Unsound | Outage:
    """What an error of KMS means to the keyring."""
    if code == _GONE:
        return _missing()
    if code in _NOT_OURS:
        return _not_sealed()
    if code in _STATE:
        return Unsound(
            "the root key of the keyring is disabled, or waits for its deletion",
            field=SETTING,
            remedy="One that somebody disabled can be enabled in KMS. One that Textkeep is deleting belongs to an older"
            " keyring: restore the newest one.",
        )
    if code in _MAY_NOT:
        return Unsound(
            "these credentials may not do that in KMS", field=SETTING, remedy="docs/deploy.md lists the rights."
        )
    return Outage("KMS does not answer", retry_after=RETRY_AFTER)
