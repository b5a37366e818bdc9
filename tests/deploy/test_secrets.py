"""`deploy/make-secrets.sh`: what it makes, who can reach it, and what a second run leaves alone."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.dockerfile import ROOT


def _make(folder: Path) -> dict[str, str]:
    subprocess.run([ROOT / "deploy" / "make-secrets.sh", folder], check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_nobody_else_reaches_the_folder_and_each_container_reads_what_is_mounted(tmp_path: Path) -> None:
    _make(tmp_path / "secrets")
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()} == {0o444}


def test_every_password_is_another_and_long(tmp_path: Path) -> None:
    made = _make(tmp_path / "secrets")
    passwords = [content for name, content in made.items() if not name.endswith("-url")]
    assert len(set(passwords)) == len(passwords) == 7
    assert all(re.fullmatch(r"[0-9a-f]{64}", each) for each in passwords)
    assert not set(passwords) & set(_make(tmp_path / "others").values())


def test_a_second_run_changes_no_password(tmp_path: Path) -> None:
    assert _make(tmp_path / "secrets") == _make(tmp_path / "secrets")


def test_a_password_that_was_replaced_is_in_its_address_after_the_next_run(tmp_path: Path) -> None:
    before = _make(tmp_path / "secrets")
    (tmp_path / "secrets" / "data-service").unlink()
    after = _make(tmp_path / "secrets")
    assert before["data-service"] not in after["data-service-url"]
    assert after["data-service"] in after["data-service-url"]
    changed = {name for name, content in after.items() if before[name] != content}
    assert changed == {"data-service", "data-service-url"}


@pytest.mark.parametrize("name", ["data-owner-url", "data-service-url", "keyring-owner-url", "keyring-service-url"])
def test_a_database_is_believed_only_with_the_certificate_of_its_name(tmp_path: Path, name: str) -> None:
    assert _make(tmp_path / "secrets")[name].endswith("?sslmode=verify-full&sslrootcert=/certs/public/ca.pem")
