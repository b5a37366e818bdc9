"""Settings: `TEXTKEEP_*` of the environment. None of them is a length of time for which texts are kept.

Each may come from a file instead: `TEXTKEEP_X_FILE=/run/secrets/x` is `TEXTKEEP_X` with what stands in that file, so
that no password has to lie in an environment. An address may hold a password: none is shown, logged or quoted.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from textkeep.errors import Malformed, RetentionFixed, Unsound

PREFIX: Final = "TEXTKEEP_"
FILE: Final = "_FILE"
DATA: Final = "textkeep-data"
KEYRING_SUFFIX: Final = "-keyring"
LOCAL_ROOT: Final = "local"
TOKENS: Final = ("pkcs11", "aws")
"""The schemes of root keys that lie in no file."""

POSTGRESQL: Final = "postgresql"
POSTGRESQL_PORT: Final = 5432

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

OTHERS: Final = frozenset({"TEXTKEEP_SHARED"})
"""Names that are the tests' own and no setting of the archive; so is whatever begins with TEXTKEEP_TEST_."""

MOST_FILE_BYTES: Final = 64 * 1024
"""Bytes of a file that holds a setting."""


class Settings(BaseSettings):
    """What an operator can set. Every address left out means the embedded default in the archive's folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, hide_input_in_errors=True, frozen=True, extra="forbid"
    )

    data: Path = Path(DATA)
    database_url: str | None = Field(default=None, repr=False)
    index_url: str | None = Field(default=None, repr=False)
    keyring_url: str | None = Field(default=None, repr=False)
    root_key: str = LOCAL_ROOT
    keyring_backups: Path | None = None
    keyring_backup_keys: Path | None = None
    kafka_brokers: str | None = None
    kafka_topic: str | None = None
    kafka_group: str = "textkeep"
    kafka_protocol: Literal["classic", "consumer"] = "classic"
    kafka_session_seconds: float = Field(default=10.0, ge=0.5, le=300)
    kafka_security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    kafka_ca: Path | None = None
    kafka_certificate: Path | None = None
    kafka_key: Path | None = None
    kafka_key_password: SecretStr | None = None
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    time_authority: str | None = Field(default=None, repr=False)
    time_authority_ca: Path | None = None
    capabilities: str = ""
    token: SecretStr | None = None
    url: str | None = Field(default=None, repr=False)
    url_ca: Path | None = None

    @classmethod
    def load(cls, data: Path | None = None) -> Self:
        """The settings of this process; `data` wins over the environment.

        Raises RetentionFixed for a setting about retention, Malformed for one that is not known or not of its form,
        and Unsound for an address that no part of this version is behind, or two that do not go together.
        """
        check_names(os.environ)
        try:
            given: dict[str, Any] = {**from_files(os.environ), **({} if data is None else {"data": data})}
            settings = cls(**given)
        except ValidationError as exc:
            named = ", ".join(f"{PREFIX}{str(error['loc'][0]).upper()}" for error in exc.errors() if error["loc"])
            raise Malformed("a setting is not of its documented form", field=named or None) from None
        settings.check_engines()
        return settings

    @property
    def folder(self) -> Path:
        """The archive's folder, as an absolute path."""
        return Path(os.path.normpath(self.data.absolute()))

    @property
    def keyring_folder(self) -> Path:
        """The keyring's folder: beside the archive's unless set otherwise, so that a copy of one misses the other."""
        if self.keyring_url is None or self.keyring_in_database:
            return self.folder.with_name(self.folder.name + KEYRING_SUFFIX)
        return Path(unquote(urlsplit(self.keyring_url).path))

    @property
    def roots_folder(self) -> Path:
        """The folder of root keys: in the keyring's, unless ROOT_KEY names one that machines share."""
        root = _split(self.root_key)
        if root is None or root.scheme != "file":
            return self.keyring_folder / "roots"
        return Path(unquote(root.path))

    @property
    def root_in_token(self) -> bool:
        """Whether the root keys lie in a token or a KMS, and not in files."""
        root = _split(self.root_key)
        return root is not None and root.scheme in TOKENS

    @property
    def pin_file(self) -> Path | None:
        """The file with the PIN of the token that has the root keys; None where there is none."""
        found = re.search(r"[?&]pin-source=file:(?://)?(/[^&]*)", self.root_key)
        return Path(unquote(found[1])) if found and self.root_in_token else None

    @property
    def secrets_folder(self) -> Path | None:
        """The folder on this machine that whoever has it can open the keyring with; None where there is none."""
        if not self.keyring_in_database:
            return self.keyring_folder
        return None if self.root_in_token else self.roots_folder

    def ledger_key_folder(self, keyring: str) -> Path:
        """Where the ledger's private key lies: beside the roots of the keyring of that id, else where it would lie."""
        if not self.keyring_in_database or self.root_in_token:
            return self.keyring_folder
        return self.roots_folder / keyring

    @property
    def database(self) -> str:
        """The database's URL, with its password."""
        return self.database_url or f"sqlite:///{self.folder / 'textkeep.db'}"

    @property
    def on_server(self) -> bool:
        """Whether the texts lie in a database that serves many processes."""
        return _is_postgresql(self.database_url)

    @property
    def keyring_in_database(self) -> bool:
        """Whether the keyring lies in a database of its own."""
        return _is_postgresql(self.keyring_url)

    @property
    def shared(self) -> bool:
        """Whether many processes may work on this archive: database, keyring and index all serve more than one."""
        return self.on_server and self.keyring_in_database and self.index_url is not None

    def check_engines(self) -> None:
        """Raises Unsound where an address is of no engine that this version has, or two do not go together."""
        on_disk = self.database_url is None or re.fullmatch(r"sqlite:////[^?#]+", self.database_url)
        _only(
            bool(on_disk) or (self.on_server and _names_database(self.database_url)),
            "DATABASE_URL",
            "stores in an SQLite file (sqlite:////path) or on PostgreSQL (postgresql://user:password@host/database)",
        )
        index = _split(self.index_url)
        _only(
            index is None or (index.scheme in ("http", "https") and bool(index.netloc)),
            "INDEX_URL",
            "has its embedded index, or OpenSearch: https://user:password@host:9200",
        )
        keyring = _split(self.keyring_url)
        _only(
            keyring is None or _is_folder(keyring) or (self.keyring_in_database and _names_database(self.keyring_url)),
            "KEYRING_URL",
            "keeps its keyring in a folder (file:///path) or in a PostgreSQL database of its own (postgresql://...)",
        )
        root = _split(self.root_key)
        _only(
            self.root_key == LOCAL_ROOT or self.root_in_token or (root is not None and _is_folder(root)),
            "ROOT_KEY",
            "has the roots `local`, file:///path, pkcs11:token=...?module-path=...&pin-source=file:... and aws:region",
        )
        self._check_backups()
        authority = _split(self.time_authority)
        _only(
            authority is None or (authority.scheme in ("http", "https") and bool(authority.netloc)),
            "TIME_AUTHORITY",
            "asks time authorities (RFC 3161) over HTTP: https://host/path",
        )
        elsewhere = _split(self.url)
        near = elsewhere is not None and elsewhere.scheme == "http" and elsewhere.hostname in LOOPBACK
        _only(
            elsewhere is None or near or (elsewhere.scheme == "https" and bool(elsewhere.netloc)),
            "URL",
            "sends tokens to an archive elsewhere over TLS only: https://host:8400",
        )
        _only(not self.capabilities.strip(), "CAPABILITIES", "has no capability that can be opened")
        _only(
            self.on_server or not self.keyring_in_database,
            "KEYRING_URL",
            "keeps the keyring of an SQLite file in a folder: file:///path",
        )
        if self.on_server and self.keyring_in_database and _place(self.database_url) == _place(self.keyring_url):
            raise in_one_database()

    def _check_backups(self) -> None:
        """Raises Unsound where backups of the keyring would lie beside what opens them, or beside the data."""
        if self.keyring_backups is None:
            return
        keys = None if self.root_in_token else self.keyring_backup_keys
        if keys is None and not self.root_in_token:
            raise Unsound(
                "backups of the keyring are set, and no folder for their keys; nothing was started",
                field=f"{PREFIX}KEYRING_BACKUP_KEYS",
                remedy="Name a folder on another system: a backup opens with the key of its own that is put there.",
            )
        apart = [each.absolute() for each in (self.keyring_backups, keys, self.folder, self.keyring_folder) if each]
        for at, one in enumerate(apart):
            for other in apart[at + 1 :]:
                # Keyring and data are told apart elsewhere.
                if (one == other or one in other.parents or other in one.parents) and at < len(apart) - 2:
                    raise Unsound(
                        "backups of the keyring, their keys, the keyring and the data must lie in folders of their own;"
                        " nothing was started",
                        field=f"{PREFIX}KEYRING_BACKUPS",
                        remedy="Name folders none of which lies in another one, best on other systems.",
                    )

    def check_many(self, command: str) -> None:
        """Raises Unsound where `command` is one of several processes, and a part of the archive serves only one."""
        alone = (
            (self.on_server, "DATABASE_URL", "a database in an SQLite file"),
            (self.keyring_in_database, "KEYRING_URL", "a keyring in a folder"),
            (self.index_url is not None, "INDEX_URL", "the embedded index"),
        )
        for serves_many, setting, what in alone:
            if not serves_many:
                raise Unsound(
                    f"`textkeep {command}` is one process of several, and {what} serves one; nothing was started",
                    field=PREFIX + setting,
                    remedy="Set TEXTKEEP_DATABASE_URL and TEXTKEEP_KEYRING_URL to PostgreSQL and TEXTKEEP_INDEX_URL to"
                    " OpenSearch, or run everything in one process: `textkeep up`.",
                )


def in_one_database() -> Unsound:
    """What to say where one database is named for keyring and data."""
    return Unsound(
        "keyring and data are in one database: each copy of it would hold both; nothing was started",
        field=f"{PREFIX}KEYRING_URL",
        remedy="Name another database, best on another server, with backups of its own that are soon deleted.",
    )


def from_files(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that `TEXTKEEP_X_FILE` names files for, by field; one newline at the end of a file does not count.

    Raises Malformed where a file cannot be read, is empty or no text, or where the setting is given both ways.
    """
    found: dict[str, Any] = {}
    given = {name.upper(): value for name, value in environment.items() if value}
    for name in Settings.model_fields:
        setting = PREFIX + name.upper()
        if setting + FILE not in given:
            continue
        if setting in given:
            raise Malformed(f"{setting} is given twice, by itself and by a file", field=setting + FILE)
        found[name] = _content(Path(given[setting + FILE]), setting + FILE)
    return found


def check_names(names: Iterable[str]) -> None:
    """Raises RetentionFixed or Malformed for a `TEXTKEEP_*` name that is no setting, with the closest one that is.

    In capitals or not: a setting is read either way.
    """
    known = [field.upper() for field in Settings.model_fields]
    for name in sorted(names):
        capital = name.upper()
        asked = capital.removeprefix(PREFIX)
        others = capital in OTHERS or asked.startswith("TEST_")
        if not capital.startswith(PREFIX) or others or asked in known or asked.removesuffix(FILE) in known:
            continue
        if "RETENTION" in capital:
            raise RetentionFixed("retention is 400 days, and no setting changes it; nothing was started", field=name)
        close = difflib.get_close_matches(asked, known, n=1, cutoff=0.5)
        every = ", ".join(PREFIX + setting for setting in known)
        hint = f"Did you mean {PREFIX}{close[0]}?" if close else f"The settings are: {every}."
        raise Malformed(f"{name} is no setting of Textkeep; nothing was started", field=name, remedy=hint)


def _only(holds: bool, setting: str, what: str) -> None:
    if not holds:
        raise Unsound(
            f"this version {what}; nothing was started",
            field=PREFIX + setting,
            remedy=f"Leave {PREFIX}{setting} out to use the embedded default.",
        )


def _content(file: Path, setting: str) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            content = opened.read(MOST_FILE_BYTES).removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError):
        raise Malformed("the file of a setting cannot be read", field=setting) from None
    if not content:
        raise Malformed("the file of a setting is empty", field=setting)
    return content


def _split(address: str | None) -> SplitResult | None:
    """An address in its parts; one that cannot be taken apart has no scheme."""
    try:
        return None if address is None else urlsplit(address)
    except ValueError:
        return urlsplit("")


def _is_postgresql(address: str | None) -> bool:
    split = _split(address)
    return split is not None and split.scheme == POSTGRESQL


def _is_folder(address: SplitResult) -> bool:
    return address.scheme == "file" and not address.netloc and len(address.path) > 1


def _names_database(address: str | None) -> bool:
    split = _split(address)
    return split is not None and len(split.path.strip("/")) > 0 and "/" not in split.path.strip("/")


def _place(address: str | None) -> tuple[str, str, str]:
    """Which database an address means: host, port and name. Two names of one server pass; the start looks again."""
    split = urlsplit(address or "")
    host, _, port = split.netloc.rpartition("@")[2].rpartition(":")
    if not port.isdigit():
        host, port = split.netloc.rpartition("@")[2], str(POSTGRESQL_PORT)
    return host.lower(), port, unquote(split.path.strip("/"))
