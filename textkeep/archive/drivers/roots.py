"""Which roots an address means: the one place that knows every kind."""

from pathlib import Path
from typing import Final, Literal

from textkeep.archive.drivers.backup_folder import BackupFolder
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.ring import Root
from textkeep.errors import Unsound

SETTING: Final = "TEXTKEEP_ROOT_KEY"

Use = Literal["ring", "backup"]


def in_token(address: str, keyring: str, use: Use) -> Root | None:
    """The roots of a keyring (its id) for one use, in a token or a KMS; None for other addresses.

    Raises Unsound where the address is not of its form, or what it needs is not installed.
    """
    group = f"textkeep-{keyring}-{use}"
    if address.startswith("pkcs11:"):
        try:
            from textkeep.archive.drivers.root_pkcs11 import Pkcs11Root, token_of
        except ModuleNotFoundError as exc:
            raise _not_installed("PKCS#11", "hsm") from exc
        return Pkcs11Root(token_of(address), group)
    if address.startswith("aws:"):
        try:
            from textkeep.archive.drivers.root_aws import AwsRoot, place_of
        except ModuleNotFoundError as exc:
            raise _not_installed("AWS", "aws") from exc
        return AwsRoot(place_of(address), f"{keyring}/{use}")
    return None


class BackupPlaces:
    """`Places` of one keyring: folders for files, and roots of the kind that the address means."""

    def __init__(self, address: str, keyring: str) -> None:
        self._address = address
        self._keyring = keyring

    def folder(self, path: str) -> BackupFolder:
        """A folder for files."""
        return BackupFolder(Path(path).absolute())

    def root(self, keys: str) -> Root:
        """The roots of backups; those that are files lie in the folder `keys`, also where others are not files now."""
        if keys:
            return LocalRoot(Path(keys).absolute())
        return in_token(self._address, self._keyring, "backup") or _no_folder()


def _no_folder() -> Root:
    raise Unsound(
        "there is no folder for the keys of the keyring's backups",
        field="TEXTKEEP_KEYRING_BACKUP_KEYS",
        remedy="Name one on another system (for `keyring backup` and `restore`: --keys).",
    )


def _not_installed(what: str, extra: str) -> Unsound:
    return Unsound(
        f"the client of {what} is not installed; nothing was started",
        field=SETTING,
        remedy=f"Install textkeep[{extra}].",
    )
