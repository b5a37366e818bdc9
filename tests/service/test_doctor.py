"""The doctor: each thing that is wrong has a name and a remedy."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from textkeep.errors import Outage, Unsound
from textkeep.ledger.standing import Standing
from textkeep.service import doctor, doctor_ledger
from textkeep.service.doctor import Finding

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True)
    return path


def test_every_finding_that_is_not_ok_has_a_remedy(tmp_path: Path) -> None:
    keyring = private(tmp_path / "keyring")
    keyring.chmod(0o755)
    findings = [
        *doctor.check_machine(private(tmp_path / "data"), keyring),
        doctor.check_clock(NOW, NOW + timedelta(days=1)),
        doctor.check_index(NOW - timedelta(hours=1), NOW),
        doctor.check_purge(2, 1),
        doctor.check_schema(None, "0002"),
    ]
    assert {finding.verdict for finding in findings} >= {"ok", "fail"}
    assert all(finding.remedy for finding in findings if finding.verdict != "ok")


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701])
def test_a_keyring_folder_that_others_can_enter_fails(tmp_path: Path, mode: int) -> None:
    keyring = private(tmp_path / "keyring")
    assert doctor.check_keyring_permissions(keyring).verdict == "ok"
    keyring.chmod(mode)
    assert doctor.check_keyring_permissions(keyring).verdict == "fail"


def test_a_key_file_that_others_can_read_fails_however_deep_it_lies(tmp_path: Path) -> None:
    keyring = private(tmp_path / "keyring")
    root = private(keyring / "roots") / "0123"
    root.write_bytes(b"k")
    root.chmod(0o600)
    assert doctor.check_keyring_permissions(keyring).verdict == "ok"
    root.chmod(0o640)
    assert doctor.check_keyring_permissions(keyring).verdict == "fail"


def test_a_keyring_that_is_not_there_fails(tmp_path: Path) -> None:
    assert doctor.check_keyring_permissions(tmp_path / "none").verdict == "fail"


@pytest.mark.parametrize(
    ("data", "keyring", "verdict"),
    [
        ("archive", "archive/keyring", "fail"),
        ("archive", "archive", "fail"),
        ("keyring/archive", "keyring", "fail"),
        ("archive", "archive-keyring", "warn"),
        ("one/archive", "other/keyring", "ok"),
    ],
)
def test_keyring_and_data_must_not_share_a_backup_set(tmp_path: Path, data: str, keyring: str, verdict: str) -> None:
    assert doctor.check_places(tmp_path / data, tmp_path / keyring).verdict == verdict


def test_a_link_does_not_hide_that_the_keyring_lies_inside_the_data(tmp_path: Path) -> None:
    inside = private(tmp_path / "archive" / "keyring")
    (tmp_path / "elsewhere").symlink_to(inside)
    assert doctor.check_places(tmp_path / "archive", tmp_path / "elsewhere").verdict == "fail"


def test_the_wal_bug_of_older_sqlite_is_named_and_harmless_here() -> None:
    assert "one writing connection" in doctor.check_sqlite((3, 40, 1)).what
    assert doctor.check_sqlite((3, 51, 3)) == Finding("sqlite", "ok", "SQLite 3.51.3")


@pytest.mark.parametrize(
    ("last_seen", "verdict"),
    [
        (None, "ok"),
        (NOW, "ok"),
        (NOW - timedelta(hours=26), "ok"),
        (NOW - timedelta(hours=26, seconds=1), "warn"),
        (NOW + timedelta(seconds=1), "fail"),
    ],
)
def test_the_clock_is_held_against_the_last_time_seen(last_seen: datetime | None, verdict: str) -> None:
    assert doctor.check_clock(NOW, last_seen).verdict == verdict


@pytest.mark.parametrize(("late", "verdict"), [(60, "ok"), (61, "warn"), (900, "warn"), (901, "fail")])
def test_an_index_that_is_behind_is_named(late: int, verdict: str) -> None:
    assert doctor.check_index(NOW - timedelta(seconds=late), NOW).verdict == verdict
    assert doctor.check_index(None, NOW).verdict == "ok"


def test_a_follower_that_has_stopped_fails_at_once() -> None:
    assert doctor.check_index(None, NOW, dead=True).verdict == "fail"


def test_a_day_that_is_overdue_fails() -> None:
    assert doctor.check_purge(1, 0).verdict == "ok"
    assert doctor.check_purge(1, 1).verdict == "fail"


def device(system: Path, name: str, *, uuid: str = "", on: str = "", backing: str = "") -> None:
    """A block device, as /sys shows it."""
    place = system / "class" / "block" / name
    (place / "dm").mkdir(parents=True)
    (place / "slaves").mkdir()
    if uuid:
        (place / "dm" / "uuid").write_text(uuid + "\n")
    if on:
        (place / "slaves" / on).symlink_to(system / "class" / "block" / on)
    if backing:
        (place / "backing_dev").write_text(backing + "\n")


@pytest.mark.parametrize(
    ("areas", "verdict"),
    [
        ([], "ok"),
        (["/dev/sda2"], "warn"),
        (["/dev/dm-1"], "ok"),
        (["/dev/dm-2"], "warn"),
        (["/dev/dm-3"], "ok"),
        (["/dev/zram0"], "ok"),
        (["/dev/zram1"], "warn"),
        (["/dev/dm-1", "/dev/sda2"], "warn"),
        (["/dev/none"], "warn"),
    ],
)
def test_swap_that_can_reach_a_disk_unencrypted_is_named(tmp_path: Path, areas: list[str], verdict: str) -> None:
    system = tmp_path / "sys"
    device(system, "sda2")
    device(system, "dm-1", uuid="CRYPT-PLAIN-swap", on="sda2")
    device(system, "dm-2", uuid="LVM-abc", on="sda2")
    device(system, "dm-3", uuid="LVM-abc", on="dm-1")
    device(system, "zram0", backing="none")
    device(system, "zram1", backing="/dev/sda2")
    listed = tmp_path / "swaps"
    listed.write_text("Filename Type Size Used Priority\n" + "".join(f"{area} partition 1 0 -2\n" for area in areas))
    assert doctor.check_swap(listed, system).verdict == verdict


@pytest.mark.parametrize(("uuid", "verdict"), [("CRYPT-LUKS2-x", "ok"), ("", "warn")])
def test_a_swap_file_is_as_good_as_the_device_it_lies_on(tmp_path: Path, uuid: str, verdict: str) -> None:
    file, system = tmp_path / "swap file", tmp_path / "sys"
    file.touch()
    device(system, "dm-9", uuid=uuid)
    number = file.stat().st_dev
    (system / "dev" / "block").mkdir(parents=True)
    (system / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}").symlink_to(
        system / "class" / "block" / "dm-9"
    )
    listed = tmp_path / "swaps"
    written = str(file).replace(" ", "\\040")
    listed.write_text(f"Filename Type Size Used Priority\n{written} file 1 0 -2\n")
    assert doctor.check_swap(listed, system).verdict == verdict


def test_no_list_of_swaps_is_no_swap(tmp_path: Path) -> None:
    assert doctor.check_swap(tmp_path / "none").verdict == "ok"


def test_a_handler_of_crashed_programs_is_named_where_it_would_get_this_one(tmp_path: Path) -> None:
    pattern = tmp_path / "core_pattern"
    pattern.write_text("|/usr/bin/handler %p\n")
    assert doctor.check_core_dumps(pattern, private=lambda: False).verdict == "warn"
    assert doctor.check_core_dumps(pattern, private=lambda: True).verdict == "ok"


def test_a_process_that_keeps_its_memory_private_leaves_no_image_of_it() -> None:
    program = (
        "import resource; from textkeep.service import memory; before = memory.is_private()\n"
        "memory.keep_memory_private(); memory.keep_memory_private()\n"
        "print(before, memory.is_private(), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(" ", 2)[1:] == [str(sys.platform == "linux"), "(0, 0)\n"]


def test_the_pin_of_a_token_that_others_can_read_fails(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    assert doctor.check_pin(pin).verdict == "fail"
    pin.write_text("1234")
    pin.chmod(0o600)
    assert doctor.check_pin(pin).verdict == "ok"
    pin.chmod(0o640)
    assert doctor.check_pin(pin).verdict == "fail"


def test_a_token_file_that_others_can_read_fails(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert doctor.check_token_file(token).verdict == "ok"
    token.write_text("tk_x")
    token.chmod(0o600)
    assert doctor.check_token_file(token).verdict == "ok"
    token.chmod(0o604)
    assert doctor.check_token_file(token).verdict == "fail"


def test_a_data_folder_that_others_can_enter_is_named(tmp_path: Path) -> None:
    data = private(tmp_path / "data")
    assert doctor.check_data_permissions(data).verdict == "ok"
    data.chmod(0o755)
    assert doctor.check_data_permissions(data).verdict == "warn"


def test_tables_of_another_version_fail() -> None:
    assert doctor.check_schema("0001", "0001").verdict == "ok"
    assert "textkeep migrate" in doctor.check_schema("0001", "0002").remedy


@pytest.mark.parametrize(("free", "verdict"), [(2**40, "ok"), (2**30, "warn"), (2**20, "fail")])
def test_a_disk_that_fills_up_is_named(
    tmp_path: Path, free: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=free))
    assert doctor.check_space(tmp_path).verdict == verdict


def standing(**other: Any) -> Standing:
    """A ledger with nothing amiss, but for what is said."""
    given: dict[str, Any] = {"waiting": 0, "waiting_since": None, "signed_at": NOW, "key_missing": False}
    return Standing(**{**given, **other})


HOURS = timedelta(hours=1)


@pytest.mark.parametrize(
    ("found", "check", "verdict"),
    [
        (standing(), "ledger", "ok"),
        (standing(signed_at=None), "ledger", "ok"),
        (standing(waiting=2, waiting_since=NOW - timedelta(seconds=60)), "ledger", "ok"),
        (standing(waiting=2, waiting_since=NOW - timedelta(seconds=61)), "ledger", "warn"),
        (standing(waiting=2, waiting_since=NOW - 27 * HOURS), "ledger", "fail"),
        (standing(signed_at=NOW - 26 * HOURS), "ledger", "ok"),
        (standing(signed_at=NOW - 27 * HOURS), "ledger", "warn"),
        (standing(refused="the database is older"), "ledger", "fail"),
        (standing(), "ledger key", "ok"),
        (standing(key_missing=None), "ledger key", "ok"),
        (standing(key_missing=True), "ledger key", "fail"),
        (standing(key_missing=True, signed_at=None), "ledger key", "fail"),
        (standing(), "witnesses", "ok"),
        (standing(heard={"w1": NOW - 26 * HOURS}), "witnesses", "ok"),
        (standing(heard={"w1": NOW - 27 * HOURS, "w2": NOW}), "witnesses", "warn"),
        (standing(heard={"w1": NOW - 27 * HOURS}), "witnesses", "fail"),
    ],
)
def test_what_stands_against_the_ledger_is_named_with_its_remedy(found: Standing, check: str, verdict: str) -> None:
    [told] = [each for each in doctor_ledger.check_ledger(found, NOW) if each.check == check]
    assert (told.verdict, bool(told.remedy)) == (verdict, verdict != "ok")
    for word in (found.refused or "", *(found.heard if verdict == "fail" else ())):
        assert word in told.what


def test_a_ledger_that_cannot_be_asked_is_a_finding_too() -> None:
    [silent] = doctor_ledger.check_ledger(Outage("the keyring's database does not answer"), NOW)
    [damaged] = doctor_ledger.check_ledger(Unsound("the state cannot be read"), NOW)
    assert (silent.verdict, damaged.verdict) == ("warn", "fail")
    assert silent.remedy
    assert damaged.remedy
