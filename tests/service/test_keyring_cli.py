"""`textkeep keyring`, as it is typed: backed up, purged, restored from the older backup, resumed by two persons."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import Cli
from tests.service.serving import approved, content, days_back, refused_to_me, served, tokens

Made = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An archive with a backup from before its last purge and one that has expired; then its keyring was lost."""
    base = tmp_path_factory.mktemp("keyring")
    cli, now = Cli(base / "archive"), datetime.now(UTC)
    clock = days_back(2, now)
    to = ("--to", str(base / "backups"), "--keys", str(base / "apart"))
    with served(cli, clock):
        known = tokens(cli)
        expired = cli.json("keyring", "backup", *to, "--days", "1")
        clock.now = now
        fresh = cli.json("keyring", "backup", *to)
        status = cli.json("keyring", "status")
        purged = cli.json("purge", "--confirm-days", "2")["days"]
        key = cli.json("ledger", "key")["key"]
        entries = len(cli.json("ledger")["entries"])
    shutil.copy(cli.data.with_name("archive-keyring") / "ledger-key", base / "copied")
    shutil.rmtree(cli.data.with_name("archive-keyring"))
    return {
        "base": base,
        "now": now,
        "tokens": known,
        "expired": expired,
        "fresh": fresh,
        "status": status,
        "purged": [day["day"] for day in purged if day["state"] == "reported"],
        "key": key,
        "entries": entries,
    }


@pytest.fixture
def lost(made: Made, tmp_path: Path) -> Cli:
    """A copy of it, still without its keyring; nothing that is refused may change anything there."""
    shutil.copytree(made["base"], tmp_path, dirs_exist_ok=True)
    return Cli(tmp_path / "archive")


def moved(made: Made, cli: Cli, name: str) -> tuple[str, ...]:
    """The words for restoring a backup, where the copy has it."""
    return ("keyring", "restore", str(cli.data.parent / "backups" / Path(made[name]["file"]).name), *keys(cli))


def keys(cli: Cli) -> tuple[str, str]:
    return ("--keys", str(cli.data.parent / "apart"))


def test_status_counts_and_names_backups_and_shows_no_secret(made: Made) -> None:
    status = made["status"]
    assert (status["root_kind"], status["restored"]) == ("local", None)
    assert status["secrets"] > 400
    assert [each["id"] for each in status["backups"]] == [made["expired"]["id"], made["fresh"]["id"]]
    assert {each["file"] for each in status["backups"]} == {made["expired"]["file"], made["fresh"]["file"]}
    assert all(Path(each["key"]).parent == made["base"] / "apart" for each in status["backups"])


def test_what_was_purged_since_the_backup_stays_destroyed_and_two_persons_let_purging_go_on(
    made: Made, lost: Cli
) -> None:
    assert len(made["purged"]) == 2
    told = lost.json(*moved(made, lost, "fresh"))
    assert told["stay_destroyed"] == [f"shelf:{day}" for day in made["purged"]]
    assert (told["backup"], told["waits_for_two_persons"]) == (made["fresh"]["id"], True)
    shutil.copy(lost.data.parent / "copied", lost.data.with_name("archive-keyring") / "ledger-key")
    clock = days_back(-1, made["now"])
    with served(lost, clock):
        waiting = lost.json("keyring", "status")
        assert waiting["restored"]["backup"] == made["fresh"]["id"]
        assert waiting["tombstones"] == 2
        stopped = lost("purge", "--json", code=1)
        assert b'"stopped": "restored"' in stopped.stdout
        assert b"textkeep keyring resume" in stopped.stdout
        assert b"no such request" in lost("keyring", "resume", "--approval", "a-0123456789abcdef", code=1).stderr
        asked = lost.json("keyring", "resume", "--reason", "the disk of May was lost")
        assert b'"restored"' in lost("purge", "--json", code=1).stdout
        assert b"nobody has approved" in lost("keyring", "resume", "--approval", asked["id"], code=1).stderr
        assert refused_to_me(lost, asked, made["tokens"]["me"])
        shown = lost.json("approvals", "show", asked["id"], token=made["tokens"]["approver"])
        assert shown["request"]["backup"] == made["fresh"]["id"]
        approved(lost, asked["id"], made["tokens"]["approver"])
        assert b'"restored"' in lost("purge", "--json", code=1).stdout
        assert lost.json("keyring", "resume", "--approval", asked["id"])["restore"] == told["restore"]
        assert lost.json("keyring", "status")["restored"] is None
        again = lost("keyring", "resume", "--approval", asked["id"], code=1).stderr
        assert b"no restored keyring waits" in again
        assert b"keyring status" in lost("keyring", "resume", "--reason", "again", code=1).stderr
        days = lost.json("purge")["days"]
        assert [day["state"] for day in days] == ["reported"]
        assert days[0]["day"] not in made["purged"]
        said = [each["body"] for each in lost.json("ledger")["entries"] if each["kind"] == "restore"]
        assert [each["what"] for each in said] == ["keyring", "resumed", "state"]
        assert lost.json("ledger", "key")["key"] == made["key"]
        assert lost.json("ledger", "status")["refused"] is None


REFUSED: dict[str, tuple[tuple[str, ...], int, list[bytes]]] = {
    "missing": (("no such file",), 2, [b"cannot be read", b"(FILE)", b"keyring-....backup"]),
    "no backup": (("archive/textkeep.db",), 1, [b"no backup of a keyring", b"(FILE)", b"another one"]),
    "damaged": (("damaged",), 1, [b"damaged", b"(FILE)", b"another one"]),
    "expired": (("expired",), 1, [b"expired on", b"(FILE)", b"newer one"]),
    "no keys": (("fresh", "no keys"), 2, [b"key of this backup is a file", b"(--keys)", b"--keys DIR"]),
    "other keys": (("fresh", "other keys"), 1, [b"root key"]),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_restored_is_refused_in_words_and_nothing_is_made(made: Made, lost: Cli, why: str) -> None:
    (name, *how), code, words = REFUSED[why]
    backups = lost.data.parent / "backups"
    if name in ("expired", "fresh"):
        file = backups / Path(made[name]["file"]).name
    elif name == "damaged":
        file = backups / "damaged"
        whole = (backups / Path(made["fresh"]["file"]).name).read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        file = lost.data.parent / name
    given = {"no keys": (), "other keys": ("--keys", str(backups))}.get(how[0]) if how else keys(lost)
    before = content(lost.data)
    said = lost("keyring", "restore", str(file), *(given or ()), code=code)
    assert said.stdout == b""
    for word in [*words, b"nothing was restored"] if why != "other keys" else words:
        assert word in said.stderr, said.stderr
    assert not (lost.data.with_name("archive-keyring") / "ring").exists()
    assert content(lost.data) == before


def test_the_backup_of_another_archive_is_refused_and_what_it_lacks_is_named(made: Made, lost: Cli) -> None:
    other = Cli(lost.data.parent / "other" / "archive")
    with served(other, days_back(0, made["now"])):
        theirs = other.json("keyring", "backup", "--to", str(other.data.parent / "b"), *keys(lost))
    said = lost("keyring", "restore", theirs["file"], *keys(lost), code=1).stderr
    for word in (b"would not open", b"shelf:", b"of another archive", b"(FILE)"):
        assert word in said, said
    assert not (lost.data.with_name("archive-keyring") / "ring").exists()
    lost(*moved(made, lost, "fresh"))
    before = content(lost.data.with_name("archive-keyring"))
    assert b"another keyring" in lost("keyring", "restore", theirs["file"], *keys(lost), code=1).stderr
    assert b"nothing was restored" in lost(*moved(made, lost, "fresh"), code=1).stderr
    assert content(lost.data.with_name("archive-keyring")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), [b"no folder for backups is set", b"(--to)"]),
        (("--to", "b", "--keys", "b/keys"), [b"must lie apart", b"(--keys)"]),
        (("--to", "b", "--keys", "k", "--days", "8"), [b"7 days at most", b"(--days)"]),
        (("--to", "b"), [b"no folder for the keys", b"--keys"]),
    ],
)
def test_a_backup_that_would_break_a_rule_is_not_made(
    tmp_path: Path, lone: Cli, words: tuple[str, ...], said: list[bytes]
) -> None:
    given = [str(tmp_path / word) if word[0] in "bk" else word for word in words]
    told = lone("keyring", "backup", *given, code=None)
    assert told.returncode in (1, 2)
    for word in said:
        assert word in told.stderr, told.stderr
    assert lone.json("keyring", "status")["backups"] == []
    assert not list(tmp_path.rglob("*.backup"))


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A new archive that answers."""
    cli = Cli(tmp_path_factory.mktemp("lone") / "archive")
    with served(cli, days_back(0, datetime.now(UTC))):
        yield cli
