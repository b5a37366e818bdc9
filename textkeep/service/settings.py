"""Settings: `TEXTKEEP_*` of the environment. None of them is a length of time for which texts are kept."""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from textkeep.errors import Malformed, RetentionFixed, Unsound

PREFIX: Final = "TEXTKEEP_"
DATA: Final = "textkeep-data"
KEYRING_SUFFIX: Final = "-keyring"

OTHERS: Final = frozenset({"TEXTKEEP_SHARED"})
"""Names that are the tests' own and no setting of the archive."""


class Settings(BaseSettings):
    """What an operator can set. Every address left out means the embedded default in the archive's folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, hide_input_in_errors=True, frozen=True, extra="forbid"
    )

    data: Path = Path(DATA)
    database_url: str | None = None
    index_url: str | None = None
    keyring_url: str | None = None
    root_key: str = "local"
    kafka_brokers: str | None = None
    kafka_topic: str | None = None
    capabilities: str = ""
    token: SecretStr | None = None

    @classmethod
    def load(cls, data: Path | None = None) -> Self:
        """The settings of this process; `data` wins over the environment.

        Raises RetentionFixed for a setting about retention, Malformed for one that is not known or not of its form,
        and Unsound for an engine that this version does not have.
        """
        check_names(os.environ)
        try:
            settings = cls() if data is None else cls(data=data)
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
        if self.keyring_url is None:
            return self.folder.with_name(self.folder.name + KEYRING_SUFFIX)
        return Path(unquote(urlsplit(self.keyring_url).path))

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.folder / 'textkeep.db'}"

    def check_engines(self) -> None:
        """Raises Unsound where a setting asks for a part that this version does not have."""
        on_disk = self.database_url is None or re.fullmatch(r"sqlite:////[^?#]+", self.database_url)
        _only(
            bool(on_disk),
            "DATABASE_URL",
            "stores in an SQLite file only (sqlite:////path); PostgreSQL is not there yet",
        )
        _only(self.index_url is None, "INDEX_URL", "has its embedded index only; OpenSearch is not available yet")
        keyring = urlsplit(self.keyring_url) if self.keyring_url else None
        kept = keyring is None or (keyring.scheme == "file" and not keyring.netloc and len(keyring.path) > 1)
        _only(kept, "KEYRING_URL", "keeps its keyring in a folder only: file:///path")
        _only(self.root_key == "local", "ROOT_KEY", "has the root `local` only")
        without = self.kafka_brokers is None and self.kafka_topic is None
        _only(without, "KAFKA_BROKERS" if self.kafka_brokers else "KAFKA_TOPIC", "does not read from Kafka yet")
        _only(not self.capabilities.strip(), "CAPABILITIES", "has no capability that can be opened")


def check_names(names: Iterable[str]) -> None:
    """Raises RetentionFixed or Malformed for a `TEXTKEEP_*` name that is no setting, with the closest one that is.

    In capitals or not: a setting is read either way.
    """
    known = [field.upper() for field in Settings.model_fields]
    for name in sorted(names):
        capital = name.upper()
        asked = capital.removeprefix(PREFIX)
        if not capital.startswith(PREFIX) or capital in OTHERS or asked in known:
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
