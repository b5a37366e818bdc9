"""Settings: what can be set, what cannot, and what is not there yet."""

import os
from pathlib import Path
from typing import Any

import pytest

from textkeep.errors import Malformed, RetentionFixed, Unsound
from textkeep.service.settings import Settings, check_names


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
        monkeypatch.delenv(name)


def test_everything_left_out_is_the_embedded_default_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert settings.folder == tmp_path / "textkeep-data"
    assert settings.keyring_folder == tmp_path / "textkeep-data-keyring"
    assert settings.database == f"sqlite:///{tmp_path}/textkeep-data/textkeep.db"


def test_the_folder_named_on_the_command_line_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKEEP_DATA", str(tmp_path / "set"))
    assert Settings.load().folder == tmp_path / "set"
    assert Settings.load(tmp_path / "x" / ".." / "named").folder == tmp_path / "named"


def test_a_setting_is_read_in_small_letters_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("textkeep_data", str(tmp_path / "set"))
    assert Settings.load().folder == tmp_path / "set"


def test_the_keyring_can_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKEEP_KEYRING_URL", f"file://{tmp_path}/else%20where")
    assert Settings.load(tmp_path / "data").keyring_folder == tmp_path / "else where"


@pytest.mark.parametrize(
    "name",
    [
        "TEXTKEEP_RETENTION",
        "TEXTKEEP_RETENTION_DAYS",
        "TEXTKEEP_MAX_RETENTION",
        "textkeep_retention_days",
        "Textkeep_Retention",
    ],
)
def test_no_setting_changes_retention(name: str) -> None:
    with pytest.raises(RetentionFixed) as refused:
        check_names([name])
    assert "400 days" in refused.value.detail
    assert "legal hold" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("TEXTKEEP_DATABASE", "TEXTKEEP_DATABASE_URL"),
        ("TEXTKEEP_KEYRING", "TEXTKEEP_KEYRING_URL"),
        ("TEXTKEEP_DATE", "TEXTKEEP_DATA"),
        ("TEXTKEEP_CAPABILITY", "TEXTKEEP_CAPABILITIES"),
        ("textkeep_date", "TEXTKEEP_DATA"),
    ],
)
def test_a_name_that_is_no_setting_is_refused_with_the_closest_one(name: str, close: str) -> None:
    with pytest.raises(Malformed) as refused:
        check_names([name])
    assert refused.value.remedy == f"Did you mean {close}?"


def test_a_name_that_is_like_none_is_refused_with_all_of_them() -> None:
    with pytest.raises(Malformed) as refused:
        check_names(["PATH", "TEXTKEEP_XXXXXXXX"])
    assert "TEXTKEEP_INDEX_URL" in refused.value.remedy


PG = "postgresql://keeper:canary-1234567890@db.example/texts"
KEYS = "postgresql://keeper:canary-1234567890@keys.example/keys"
INDEX = "https://keeper:canary-1234567890@search.example:9200"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql+psycopg://user:canary-1234567890@host/db"),
        ("DATABASE_URL", "postgresql://user:canary-1234567890@host"),
        ("DATABASE_URL", "postgresql://user:canary-1234567890@[host/db"),
        ("DATABASE_URL", "mysql://user:canary-1234567890@host/db"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///relative/canary-1234567890.db"),
        ("INDEX_URL", "file:///canary-1234567890"),
        ("INDEX_URL", "canary-1234567890.example:9200"),
        ("KEYRING_URL", "vault://canary-1234567890"),
        ("KEYRING_URL", "file://host/canary-1234567890"),
        ("KEYRING_URL", "postgresql://user:canary-1234567890@host"),
        ("KEYRING_URL", KEYS),
        ("ROOT_KEY", "vault:canary-1234567890"),
        ("ROOT_KEY", "file://host/canary-1234567890"),
        ("TIME_AUTHORITY", "ftp://canary-1234567890.example/tsa"),
        ("CAPABILITIES", "ediscovery canary-1234567890"),
    ],
)
def test_what_this_version_does_not_have_is_refused_without_quoting_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TEXTKEEP_{name}", value)
    with pytest.raises(Unsound) as refused:
        Settings.load()
    assert refused.value.field == f"TEXTKEEP_{name}"
    assert "canary" not in f"{refused.value} {refused.value.remedy}"


def shared(monkeypatch: pytest.MonkeyPatch, **others: str) -> Settings:
    for name, value in {"DATABASE_URL": PG, "KEYRING_URL": KEYS, "INDEX_URL": INDEX, **others}.items():
        monkeypatch.setenv(f"TEXTKEEP_{name}", value)
    return Settings.load()


def test_many_processes_share_an_archive_whose_every_part_serves_many(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = shared(monkeypatch)
    assert settings.shared
    settings.check_many("api")


@pytest.mark.parametrize("alone", ["DATABASE_URL", "KEYRING_URL", "INDEX_URL"])
@pytest.mark.parametrize("command", ["api", "consume", "follow", "keep"])
def test_many_processes_on_a_part_that_serves_one_are_refused_by_its_name(
    alone: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"database_url": PG, "keyring_url": KEYS, "index_url": INDEX}
    del given[alone.lower()]
    settings = Settings(**given)
    assert not settings.shared
    with pytest.raises(Unsound) as refused:
        settings.check_many(command)
    assert refused.value.field == f"TEXTKEEP_{alone}"
    assert command in refused.value.detail


@pytest.mark.parametrize(
    "keys",
    [
        PG,
        PG.replace("keeper:canary-1234567890", "somebody"),
        PG.replace("db.example", "DB.example:5432") + "?sslmode=require",
    ],
)
def test_keyring_and_data_in_one_database_are_refused(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsound) as refused:
        shared(monkeypatch, KEYRING_URL=keys)
    assert refused.value.field == "TEXTKEEP_KEYRING_URL"
    assert "one database" in refused.value.detail
    assert "canary" not in f"{refused.value} {refused.value.remedy}"


@pytest.mark.parametrize("keys", [PG.replace("texts", "keys"), PG.replace("db.example", "db.example:5433")])
def test_two_databases_of_one_server_are_two_places(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared(monkeypatch, KEYRING_URL=keys).shared


def test_no_password_is_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "canary" not in repr(shared(monkeypatch))


def test_roots_can_lie_in_a_folder_that_machines_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared(monkeypatch, DATA=str(tmp_path / "a")).roots_folder == tmp_path / "a-keyring" / "roots"
    assert shared(monkeypatch, ROOT_KEY=f"file://{tmp_path}/on%20all").roots_folder == tmp_path / "on all"


@pytest.mark.parametrize("content", ["{}", "{}\n", "{}\r\n"])
def test_a_setting_can_come_from_a_file(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_bytes(content.format(PG).encode())
    monkeypatch.setenv("TEXTKEEP_DATABASE_URL_FILE", str(tmp_path / "secret"))
    assert Settings.load().database == PG


def test_every_setting_can_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("tk_canary-1234567890")
    monkeypatch.setenv("textkeep_token_file", str(tmp_path / "token"))
    token = Settings.load().token
    assert token is not None
    assert token.get_secret_value() == "tk_canary-1234567890"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe canary-1234567890"])
def test_a_file_that_holds_no_setting_is_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("TEXTKEEP_DATABASE_URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(Malformed) as refused:
        Settings.load()
    assert refused.value.field == "TEXTKEEP_DATABASE_URL_FILE"
    assert "canary" not in str(refused.value)


def test_a_setting_given_both_ways_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(PG)
    monkeypatch.setenv("TEXTKEEP_DATABASE_URL_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("TEXTKEEP_DATABASE_URL", PG)
    with pytest.raises(Malformed, match="given twice"):
        Settings.load()


def test_a_file_for_what_is_no_setting_is_refused() -> None:
    with pytest.raises(Malformed):
        check_names(["TEXTKEEP_DATABASE_FILE"])
    with pytest.raises(RetentionFixed):
        check_names(["TEXTKEEP_RETENTION_DAYS_FILE"])


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKEEP_INDEX_URL", "")
    assert Settings.load().index_url is None


def test_the_token_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKEEP_TOKEN", "tk_canary-1234567890")
    assert "canary" not in repr(Settings.load())


def test_root_keys_in_a_token_lie_in_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = "pkcs11:token=t?module-path=/m.so&pin-source=file:/run/pin"
    settings = shared(monkeypatch, DATA=str(tmp_path / "a"), ROOT_KEY=address)
    assert (settings.root_in_token, settings.secrets_folder, settings.pin_file) == (True, None, Path("/run/pin"))
    monkeypatch.delenv("TEXTKEEP_KEYRING_URL")
    assert Settings.load().secrets_folder == tmp_path / "a-keyring"
    monkeypatch.setenv("TEXTKEEP_ROOT_KEY", "aws:eu-central-1")
    assert (Settings.load().root_in_token, Settings.load().pin_file) == (True, None)


def test_backups_of_the_keyring_need_a_place_for_their_keys_only_where_these_are_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEXTKEEP_KEYRING_BACKUPS", str(tmp_path / "backups"))
    with pytest.raises(Unsound) as refused:
        Settings.load(tmp_path / "a")
    assert refused.value.field == "TEXTKEEP_KEYRING_BACKUP_KEYS"
    monkeypatch.setenv("TEXTKEEP_ROOT_KEY", "aws:eu-central-1")
    assert Settings.load(tmp_path / "a").keyring_backups == tmp_path / "backups"


@pytest.mark.parametrize(
    ("backups", "keys"),
    [("b", "b"), ("b", "b/keys"), ("k/b", "k"), ("a/b", "k"), ("b", "a"), ("a-keyring", "k"), ("b", "a-keyring/keys")],
)
def test_backups_their_keys_the_keyring_and_the_data_lie_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backups: str, keys: str
) -> None:
    monkeypatch.setenv("TEXTKEEP_KEYRING_BACKUPS", str(tmp_path / "b"))
    monkeypatch.setenv("TEXTKEEP_KEYRING_BACKUP_KEYS", str(tmp_path / "k"))
    Settings.load(tmp_path / "a")
    monkeypatch.setenv("TEXTKEEP_KEYRING_BACKUPS", str(tmp_path / backups))
    monkeypatch.setenv("TEXTKEEP_KEYRING_BACKUP_KEYS", str(tmp_path / keys))
    with pytest.raises(Unsound, match="folders of their own"):
        Settings.load(tmp_path / "a")
