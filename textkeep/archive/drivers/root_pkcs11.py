"""Root keys inside a PKCS#11 token: made there, used there, destroyed there, and never to be had outside."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass, exceptions

from textkeep.archive.ring import NONCE_BYTES, Fate
from textkeep.errors import Outage, Unsound

KEY_BITS: Final = 256
TAG_BITS: Final = 128
ID_BYTES: Final = 16
SETTING: Final = "TEXTKEEP_ROOT_KEY"
RETRY_AFTER: Final = 10
"""Seconds after which a caller may try again."""

MOST_PIN_BYTES: Final = 1024

_Result = TypeVar("_Result")

_PIN: Final = (exceptions.PinIncorrect, exceptions.PinLocked, exceptions.PinExpired, exceptions.PinInvalid,
               exceptions.PinLenRange)  # fmt: skip
_NO_KEY: Final = (exceptions.NoSuchKey, exceptions.ObjectHandleInvalid, exceptions.KeyHandleInvalid)
_STALE: Final = (exceptions.SessionHandleInvalid, exceptions.SessionClosed, exceptions.UserNotLoggedIn)
"""The session is no more, and another one may do."""

_OWN: Final = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.PRIVATE: True,
    Attribute.MODIFIABLE: False,
    Attribute.COPYABLE: False,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
}
"""What a root key must be: nothing takes it out of the token, wrapped or not, nor makes it one that could be."""


@dataclass(frozen=True, slots=True)
class Token:
    """Where a token is: the module's file, what identifies the token, and the file that holds its PIN."""

    module: str
    attributes: dict[str, str]
    pin: Path = field(repr=False)


class Pkcs11Root:
    """`Root` over AES keys of a token, one a root, found by a label (`group`) that is this keyring's and this use's.

    A data key is wrapped as nonce (12) || AES-256-GCM, computed in the token, with the root's id as associated data.
    Forgetting a root destroys its key in the token and looks whether it is gone: from then on no copy of what it
    sealed opens, wherever that is. How well the token itself forgets is the token's promise, not ours.
    """

    kind = "pkcs11"
    waiting: timedelta | None = timedelta()

    def __init__(self, token: Token, group: str) -> None:
        """Nothing is asked of the token yet."""
        self._token = token
        self._group = group
        self._using = threading.RLock()
        self._session: Any = None
        self._process = os.getpid()

    def create(self) -> str:
        """A new key in the token. Raises Unsound where the token makes keys that could be taken out of it."""
        name = os.urandom(ID_BYTES)

        def work(session: Any) -> None:
            key = session.generate_key(
                KeyType.AES,
                KEY_BITS,
                id=name,
                label=self._group,
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template=_OWN,
            )
            if not (key[Attribute.NEVER_EXTRACTABLE] and key[Attribute.ALWAYS_SENSITIVE] and key[Attribute.LOCAL]):
                key.destroy()
                raise Unsound("the token makes keys that can be taken out of it", field=SETTING)

        self._ask(work)
        return name.hex()

    def wrap(self, root: str, key: bytes) -> bytes:
        """nonce (12) || AES-256-GCM of `key`. Raises Unsound where the root is gone."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._ask(lambda session: bytes(self._key(session, root).encrypt(key, **_gcm(nonce, root))))

    def unwrap(self, root: str, wrapped: bytes) -> bytes:
        """The key that `wrap` sealed. Raises Unsound where the root is gone or the bytes are not its own."""
        nonce, body = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        if len(wrapped) < NONCE_BYTES + TAG_BITS // 8:
            raise _not_sealed()

        def work(session: Any) -> bytes:
            key = self._key(session, root)
            try:
                return bytes(key.decrypt(body, **_gcm(nonce, root)))
            except exceptions.PKCS11Error:
                # Tokens say what was not sealed by this key in many ways, a general error among them. One that still
                # seals with the key is there and well.
                key.encrypt(bytes(16), **_gcm(os.urandom(NONCE_BYTES), root))
                raise _not_sealed() from None

        return self._ask(work)

    def forget(self, root: str) -> None:
        """Destroy the key inside the token. Raises Outage where it is still there afterwards."""

        def work(session: Any) -> None:
            for key in self._found(session, root):
                key.destroy()
            if self._found(session, root):
                raise Outage("the token did not destroy a root key", retry_after=RETRY_AFTER)

        self._ask(work)

    def known(self) -> set[str]:
        """The ids of this keyring's keys in the token."""
        return self._ask(lambda session: {bytes(key[Attribute.ID]).hex() for key in self._found(session)})

    def fate(self, root: str) -> Fate:
        """Gone from the token, and with that for good; or there."""
        return Fate(gone=not self._ask(lambda session: self._found(session, root)))

    def close(self) -> None:
        """Give the session back."""
        with self._using:
            session, self._session = self._session, None
            if session is not None and self._process == os.getpid():
                try:
                    session.close()
                except exceptions.PKCS11Error:
                    return

    def _key(self, session: Any, root: str) -> Any:
        found = self._found(session, root)
        if not found:
            raise exceptions.NoSuchKey
        return found[0]

    def _found(self, session: Any, root: str | None = None) -> list[Any]:
        wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self._group}
        if root is not None:
            try:
                wanted[Attribute.ID] = bytes.fromhex(root)
            except ValueError:
                return []
        return list(session.get_objects(wanted))

    def _ask(self, work: Callable[[Any], _Result]) -> _Result:
        """What `work` gives with a session, one at a time; once more with a new one where the old one has ended."""
        with self._using, _translated():
            try:
                return work(self._opened())
            except (*_STALE, exceptions.ObjectHandleInvalid):
                self._session = None
                return work(self._opened())
            except exceptions.PKCS11Error:
                self._session = None
                raise

    def _opened(self) -> Any:
        if self._process != os.getpid():
            # A module's sessions are its process's own; a child begins anew.
            self._session, self._process = None, os.getpid()
            pkcs11.lib(self._token.module).reinitialize()
        if self._session is None:
            library: Any = pkcs11.lib(self._token.module)
            token = library.get_token(**_wanted(self._token.attributes))
            try:
                self._session = token.open(rw=True, user_pin=_pin(self._token.pin))
            except exceptions.UserAlreadyLoggedIn:  # this process has another session, and login is a token's
                self._session = token.open(rw=True)
        return self._session


def token_of(uri: str) -> Token:
    """The token that a PKCS #11 URI names (RFC 7512): `pkcs11:token=LABEL?module-path=FILE&pin-source=file:FILE`.

    `token`, `serial` and `model` select it; the PIN comes from a file, never from the address. Raises Unsound.
    """
    scheme, _, rest = uri.partition(":")
    path, _, query = rest.partition("?")
    pairs = [part.partition("=") for part in path.split(";") if part]
    attributes = {name: unquote(value) for name, _, value in pairs}
    asked = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, separator="&"))
    unknown = (attributes.keys() - {"token", "serial"}) | (asked.keys() - {"module-path", "pin-source"})
    source = asked.get("pin-source", "").removeprefix("file:").removeprefix("//")
    module = asked.get("module-path", "")
    if scheme != "pkcs11" or unknown or not attributes or not (module.startswith("/") and source.startswith("/")):
        raise Unsound(
            "the address of the token is not of its documented form",
            field=SETTING,
            remedy="Write pkcs11:token=LABEL?module-path=/path/to/module.so&pin-source=file:/path/to/pin.",
        )
    return Token(module, attributes, Path(source))


def _wanted(attributes: dict[str, str]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if "token" in attributes:
        wanted["token_label"] = attributes["token"]
    if "serial" in attributes:
        wanted["token_serial"] = attributes["serial"].encode()
    return wanted


def _pin(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(MOST_PIN_BYTES).removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError):
        raise Unsound("the file with the token's PIN cannot be read", field=SETTING) from None


def _gcm(nonce: bytes, root: str) -> dict[str, Any]:
    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, root.encode(), TAG_BITS)}


def _not_sealed() -> Unsound:
    return Unsound("the keyring was not sealed under this root")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _NO_KEY as exc:
        raise Unsound(
            "the root key of the keyring is not in the token",
            field=SETTING,
            remedy="It may be another token: name the one that holds this keyring's root. A key that was destroyed does"
            " not come back; restore the keyring from a backup (`textkeep keyring restore`).",
        ) from exc
    except _PIN as exc:
        raise Unsound("the token does not take its PIN", field=SETTING, remedy="Look at the PIN's file.") from exc
    except (exceptions.MechanismInvalid, exceptions.FunctionNotSupported) as exc:
        raise Unsound("the token has no AES-GCM", field=SETTING, remedy="Use a token that has CKM_AES_GCM.") from exc
    except exceptions.PKCS11Error as exc:
        if "loading" in str(exc) or "symbol" in str(exc):
            raise Unsound("the token's module cannot be loaded", field=SETTING) from exc
        raise Outage("the token with the root keys does not answer", retry_after=RETRY_AFTER) from exc
