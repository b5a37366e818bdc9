"""What is wrong with an archive and its machine, and the remedy of each. One small check for one thing.

Pure but for `stat` and the like: whatever has to be asked of the archive is handed in.
"""

import os
import resource
import shutil
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from textkeep.service import memory

Verdict = Literal["ok", "warn", "fail"]

OTHERS: Final = 0o077
FIXED_WAL: Final = (3, 51, 3)
"""From this SQLite on, several writing connections no longer hit the WAL-reset bug."""

LITTLE_SPACE: Final = 2 * 1024**3
"""Bytes free on the disk below which it is time to make room."""

NO_SPACE: Final = 200 * 1024**2
"""Bytes free below which a purge may not be able to write what it must."""

INDEX_LATE: Final = timedelta(minutes=1)
INDEX_VERY_LATE: Final = timedelta(minutes=15)
CLOCK_LATE: Final = timedelta(hours=26)

SWAPS: Final = Path("/proc/swaps")
CORE_PATTERN: Final = Path("/proc/sys/kernel/core_pattern")


NAMED: Final = 20
"""How many of the same sort are named one by one."""

KEYRING_PERMISSIONS: Final = "keyring permissions"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `remedy` is empty where nothing is wrong."""

    check: str
    verdict: Verdict
    what: str
    remedy: str = ""


def check_keyring_permissions(folder: Path) -> Finding:
    """Keyring folder and files are their user's alone."""
    name = KEYRING_PERMISSIONS
    if not folder.is_dir():
        return Finding(name, "fail", "there is no keyring folder", "Restore the keyring of this data from its backup.")
    if any(_open_to_others(path) for path in (folder, *folder.rglob("*"))):
        remedy = "chmod 700 the keyring folder and its folders, chmod 600 its files; then ask who has read them."
        return Finding(name, "fail", "others of this machine can reach the keyring's files", remedy)
    return Finding(name, "ok", "the keyring's files are their user's alone")


def check_data_permissions(folder: Path) -> Finding:
    """The archive's folder is its user's alone."""
    if _open_to_others(folder):
        what = "others of this machine can look into the archive's folder"
        return Finding("data permissions", "warn", what, "chmod 700 the archive's folder.")
    return Finding("data permissions", "ok", "the archive's folder is its user's alone")


def check_token_file(path: Path) -> Finding:
    """The token that was left for the OS user is theirs alone."""
    if path.exists() and _open_to_others(path):
        remedy = (
            "chmod 600 it, revoke that token (`textkeep token list`, `revoke`), delete the file; `up` leaves another."
        )
        return Finding(
            "token file", "fail", "others of this machine can read the token in the archive's folder", remedy
        )
    return Finding("token file", "ok", "no token lies open")


def check_places(data: Path, keyring: Path) -> Finding:
    """Keyring and data are not in one backup set: whoever has both has the texts, purged or not."""
    name = "keyring and data apart"
    data, keyring = data.resolve(), keyring.resolve()
    if keyring == data or data in keyring.parents or keyring in data.parents:
        remedy = "Stop the archive, move the keyring elsewhere and name the place in TEXTKEEP_KEYRING_URL."
        return Finding(name, "fail", "one lies inside the other: every copy of the outer holds both", remedy)
    if keyring.parent == data.parent:
        remedy = (
            "Leave the keyring's folder out of the data's backups, and give it short-lived backups of its own; or move"
            " it to another disk and name it in TEXTKEEP_KEYRING_URL."
        )
        return Finding(name, "warn", "they lie in one folder: a backup of that folder holds both", remedy)
    return Finding(name, "ok", "they lie in different folders")


def check_sqlite(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> Finding:
    """The WAL-reset bug cannot be hit."""
    shown = ".".join(map(str, version))
    if version >= FIXED_WAL:
        return Finding("sqlite", "ok", f"SQLite {shown}")
    return Finding("sqlite", "ok", f"SQLite {shown} has the WAL-reset bug; one writing connection never meets it")


def check_clock(now: datetime, last_seen: datetime | None) -> Finding:
    """The clock is where it was left, or a little later."""
    if last_seen is None or last_seen <= now <= last_seen + CLOCK_LATE:
        return Finding("clock", "ok", "the clock agrees with the last time seen")
    if now < last_seen:
        remedy = "Set the clock right. If it is right and the stored time was wrong: `textkeep doctor --reset-clock`."
        return Finding(
            "clock", "fail", "the clock is behind the last time this archive has seen; no purge runs", remedy
        )
    remedy = "If the clock is right, look at `textkeep purge --dry-run` and confirm the number of days."
    return Finding("clock", "warn", "the clock is more than 26 hours ahead of the last time seen", remedy)


def check_space(folder: Path) -> Finding:
    """There is room on the disk."""
    free = shutil.disk_usage(folder).free
    shown = f"{free // 1024**2:,} MiB free"
    if free < NO_SPACE:
        return Finding("disk space", "fail", shown, "Make room now: nothing can be accepted or purged on a full disk.")
    if free < LITTLE_SPACE:
        return Finding("disk space", "warn", shown, "Make room on the disk.")
    return Finding("disk space", "ok", shown)


def check_swap(swaps: Path = SWAPS, system: Path = Path("/sys")) -> Finding:
    """What is swapped out is encrypted or stays in memory."""
    plain = [device for device in _swap_devices(swaps) if not _sealed_swap(device, system)]
    if plain:
        remedy = (
            "Encrypt the swap (dm-crypt with a random key) or turn it off, and give zram no backing device: secrets in"
            " memory can land there."
        )
        return Finding("swap", "warn", f"{len(plain)} swap area(s) are not encrypted", remedy)
    return Finding("swap", "ok", "no swap, or encrypted, or in memory")


def check_core_dumps(pattern: Path = CORE_PATTERN, *, private: Callable[[], bool] = memory.is_private) -> Finding:
    """A crash leaves no image of the memory."""
    remedy = "Turn core dumps off for this service: ulimit -c 0, and no handler in kernel.core_pattern."
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        return Finding("core dumps", "warn", "a crash may write the memory, secrets and all, to disk", remedy)
    if _first_line(pattern).startswith("|") and not private():  # the limit does not count for a handler
        return Finding("core dumps", "warn", "the system hands the memory of crashed programs to a handler", remedy)
    return Finding("core dumps", "ok", "a crash leaves no image of the memory")


def check_pin(file: Path) -> Finding:
    """The file with the token's PIN is its user's alone."""
    if not file.exists():
        return Finding("token PIN", "fail", "the file with the token's PIN is not there", "Put it where ROOT_KEY says.")
    if _open_to_others(file):
        return Finding("token PIN", "fail", "others of this machine can read the token's PIN", "chmod 600 its file.")
    return Finding("token PIN", "ok", "the token's PIN is its user's alone")


def check_index(
    oldest: datetime | None, now: datetime, *, damaged: int = 0, missing: int = 0, dead: bool = False
) -> Finding:
    """What was accepted can be found soon after.

    `damaged` counts slices of which a text does not open, `missing` those that should be in the index and are not.
    """
    remedy = "Is the service running? If it is and this grows: look into the log, then `textkeep rebuild`."
    if dead:
        return Finding("index", "fail", "the follower has stopped: new texts are kept, and not yet findable", remedy)
    if damaged:
        what = f"{damaged} slice(s) hold a text that does not open, and cannot be indexed"
        return Finding(
            "index", "fail", what, "Restore the database from before the damage; the ledger has their roots."
        )
    if missing:
        what = f"{missing} slice(s) that should be findable are not in the index: it was lost, or is an older copy"
        return Finding("index", "fail", what, "Start the service again: it gives them to the index anew.")
    behind = now - oldest if oldest is not None else timedelta()
    if behind <= INDEX_LATE:
        return Finding("index", "ok", "what was accepted can be found")
    verdict: Verdict = "fail" if behind > INDEX_VERY_LATE else "warn"
    what = f"the oldest text not yet findable has waited {behind.total_seconds():.0f} s"
    return Finding("index", verdict, what, remedy)


def check_purge(due: int, overdue: int) -> Finding:
    """Every day is closed within 24 hours of its time."""
    if overdue:
        remedy = "`textkeep purge` runs it now and says what stops it; `--dry-run` shows the days."
        return Finding("purge", "fail", f"{overdue} day(s) should have been purged more than 24 hours ago", remedy)
    return Finding("purge", "ok", f"{due} day(s) due, none overdue")


def some(names: Collection[str], most: int = NAMED) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(sorted(names)[:most]) + more


def check_tokens(doubtful: Collection[str]) -> Finding:
    """Every row of a token is as the service wrote it."""
    if not doubtful:
        return Finding("tokens", "ok", "each is as it was given out")
    remedy = (
        "Somebody wrote to the database past the service; nobody gets in by these. Find out who could, look at"
        " `textkeep audit`, and give the people concerned new tokens."
    )
    return Finding(
        "tokens", "fail", f"{len(doubtful)} row(s) are not as the service wrote them: {some(doubtful)}", remedy
    )


def check_schema(found: str | None, newest: str) -> Finding:
    """The tables are those this program works with."""
    if found == newest:
        return Finding("schema", "ok", f"version {newest}")
    return Finding("schema", "fail", f"the tables have version {found}", "Run `textkeep migrate`.")


def check_machine(
    data: Path, keyring: Path | None, *, on_server: bool = False, pin: Path | None = None
) -> Iterator[Finding]:
    """Every check that needs no open archive.

    With `on_server` the texts lie elsewhere; `keyring` has the roots, and is None where nothing of them lies here;
    `pin` is the file that opens the token with them.
    """
    if data.is_dir():
        yield check_data_permissions(data)
        yield check_token_file(data / "token")
        yield check_space(data)
    if keyring is not None:
        yield check_keyring_permissions(keyring)
    if pin is not None:
        yield check_pin(pin)
    if not on_server:
        if keyring is not None:
            yield check_places(data, keyring)
        yield check_sqlite()
    yield check_swap()
    yield check_core_dumps()


def _open_to_others(path: Path) -> bool:
    found = path.lstat()
    return not stat.S_ISLNK(found.st_mode) and bool(found.st_mode & OTHERS or found.st_uid != os.geteuid())


def _swap_devices(swaps: Path) -> list[str]:
    try:
        lines = swaps.read_text().splitlines()[1:]
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip()]


def _sealed_swap(area: str, system: Path) -> bool:
    """Whether a swap area is dm-crypt's, or lies on it, or is compressed memory that goes to no disk."""
    path = Path(area.replace("\\040", " "))
    device = system / "class" / "block" / path.name
    if not device.exists():  # a file, by the device that its file system is on
        try:
            number = path.stat().st_dev
        except OSError:
            return False
        device = system / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    if path.name.startswith("zram"):
        return _first_line(device / "backing_dev") in ("", "none")
    return _sealed_device(device)


def _sealed_device(device: Path) -> bool:
    if _first_line(device / "dm" / "uuid").startswith("CRYPT-"):
        return True
    below = list((device / "slaves").glob("*"))
    return bool(below) and all(_sealed_device(each) for each in below)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0]
    except OSError:
        return ""
