"""Settings: what can be set, what cannot, and what is not there yet."""

import os
from pathlib import Path

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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql+psycopg://user:canary-1234567890@host/db"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///relative/canary-1234567890.db"),
        ("INDEX_URL", "https://canary-1234567890.example:9200"),
        ("KEYRING_URL", "vault://canary-1234567890"),
        ("KEYRING_URL", "file://host/canary-1234567890"),
        ("ROOT_KEY", "aws:canary-1234567890"),
        ("KAFKA_BROKERS", "canary-1234567890:9092"),
        ("KAFKA_TOPIC", "canary-1234567890"),
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


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKEEP_INDEX_URL", "")
    assert Settings.load().index_url is None


def test_the_token_is_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTKEEP_TOKEN", "tk_canary-1234567890")
    assert "canary" not in repr(Settings.load())
