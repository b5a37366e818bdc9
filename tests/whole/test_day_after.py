"""The day after: a day is gone from the archive, from copies of it, and from old copies of the keyring."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.engines import tool
from tests.whole.commanding import FAKED, Up, World, at, up
from tests.whole.living import ORG, STREAM, WHY, location, organisation, stream, text, user
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.keyring import Keyring, SecretDestroyed
from textkeep.archive.papers import Kind, Papers
from textkeep.archive.rows import open_row
from textkeep.archive.sealing import Sealer
from textkeep.archive.shelf import Day
from textkeep.errors import Unsound
from textkeep.store.engine import Store
from textkeep.store.tables import papers_of, texts_of

TODAY: Final = datetime(2027, 3, 8, 12, tzinfo=UTC)
"""A noon to come, so that nothing of the machine's own date is in it."""

GOES: Final = Day.of(TODAY).plus(-400)
"""The day whose last text turns 400 days old at the next midnight."""

TEXTS: Final = 60
STAYS: Final = GOES.plus(1)
QUARANTINED: Final = 5


@dataclass
class Story:
    """What was there before, what is there after, and what the service said the day after."""

    world: World
    before: Path
    ids: dict[str, list[str]]
    day: dict[str, Any]
    report: dict[str, Any]
    found: list[str]
    gone: int

    def keyring_now(self, folder: Path) -> Keyring:
        """The keyring after the purge, opened on a copy of it."""
        return opened(shutil.copytree(self.world.keyring, folder / "keyring-now"))

    def keyring_before(self, folder: Path) -> Keyring:
        """The keyring as it was before, likewise."""
        return opened(shutil.copytree(self.before / "keyring", folder / "keyring-before"))

    def data_before(self, folder: Path) -> Path:
        """A copy of the copy of the data."""
        return Path(shutil.copytree(self.before / "archive", folder / "archive"))


@pytest.fixture(scope="module")
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Load, stop, copy everything, start a day later, and again a day later."""
    faketime = tool(request, "faketime")
    base = tmp_path_factory.mktemp("day-after")
    world = World.make(base / "world")
    with up(world, *at(faketime, TODAY), **FAKED) as service:
        ids = load(service)
        assert sorted(found(service)) == sorted(ids[GOES.shelf] + ids[STAYS.shelf])
    shutil.copytree(world.data, base / "archive")
    shutil.copytree(world.keyring, base / "keyring")
    with up(world, *at(faketime, TODAY + timedelta(days=1)), **FAKED) as service:
        day = service.wait_until_closed([GOES.shelf])[GOES.shelf]
        with service.officer() as officer:
            gone = officer.get(f"/v1/texts/{ids[GOES.shelf][0]}", headers=WHY).status_code
        after = found(service)
    report = json.loads((world.data / "reports" / f"{GOES.shelf}.json").read_bytes())
    world.log()
    return Story(world, base, ids, day, report, after, gone)


def load(service: Up) -> dict[str, list[str]]:
    """Texts and quarantined records of the day that goes and of the one after; gives the ids of the texts."""
    ids: dict[str, list[str]] = {}
    with service.local() as client:
        directory = [organisation(), location(), user("u-1", "+12125550101")]
        client.post("/v1/directory", content=stream(directory), headers={"Content-Type": STREAM}).raise_for_status()
        for day in (GOES, STAYS):
            moments = [day.end() - timedelta(minutes=1 + number * 11) for number in range(TEXTS)]
            records = [text(f"{day.shelf}-{number}", moment) for number, moment in enumerate(moments)]
            records += [text(f"{day.shelf}-mms-{number}", day.end() - timedelta(minutes=5), channel="mms")
                        for number in range(QUARANTINED)]  # fmt: skip
            answer = client.post("/v1/texts", content=stream(records), headers={"Content-Type": STREAM})
            receipt = answer.raise_for_status().json()
            assert (receipt["accepted"], receipt["quarantined"]) == (TEXTS, QUARANTINED)
            ids[day.shelf] = [item["text_id"] for item in receipt["items"] if item["text_id"]]
    service.wait_until_findable()
    return ids


def found(service: Up) -> list[str]:
    asked = {"query": f"pelican before:{STAYS.plus(1).shelf}", "reason": "a test", "org_id": ORG, "limit": 200}
    with service.officer() as officer:
        answer = officer.post("/v1/searches", json=asked).raise_for_status()
    return [text["text_id"] for text in answer.json()["results"]]


def opened(folder: Path) -> Keyring:
    return Keyring.open(FolderStore(folder), LocalRoot(folder / "roots"), create=False)


def rows_of(data: Path, day: Day) -> dict[str, list[Any]]:
    """Every sealed row of a day in a copy of the data: its texts and its papers."""
    store = Store.open(f"sqlite:///{data / 'textkeep.db'}")
    with store.reading() as connection:
        rows = {each: list(connection.execute(table.select())) for each, table in
                (("texts", texts_of(day.shelf)), ("papers", papers_of(day.shelf)))}  # fmt: skip
    store.close()
    return rows


def papers_opened(data: Path, keyring: Keyring, day: Day) -> int:
    """How many papers of a day open."""
    store, papers = Store.open(f"sqlite:///{data / 'textkeep.db'}"), Papers(Sealer(keyring))
    try:
        with store.reading() as connection:
            return sum(len(list(papers.of_kind(connection, day.shelf, kind))) for kind in get_args(Kind))
    finally:
        store.close()


def test_the_day_is_gone_and_the_next_one_is_not(story: Story) -> None:
    assert sorted(story.found) == sorted(story.ids[STAYS.shelf])
    assert story.gone == 404


def test_its_report_adds_up_and_passes(story: Story) -> None:
    totals = story.report["totals"]
    assert totals["taken"] == totals["kept"] + totals["destroyed"] + totals["lost"]
    assert (totals["taken"], totals["kept"], totals["destroyed"], totals["lost"]) == (TEXTS, 0, TEXTS, 0)
    assert story.report["quarantine"]["found"] == QUARANTINED
    assert story.report["verdict"] == "pass"
    told = {name: story.day[name] for name in ("state", "taken", "kept", "destroyed", "lost")}
    assert told == {"state": "reported", "taken": TEXTS, "kept": 0, "destroyed": TEXTS, "lost": 0}


def test_no_table_of_the_day_is_left(story: Story) -> None:
    name = GOES.shelf.replace("-", "_")
    for file in ("textkeep.db", "index.db"):
        with closing(sqlite3.connect(story.world.data / file)) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
        assert tables
        assert not [table for table in tables if name in table]


def test_a_copy_from_before_opens_with_the_keyring_from_before(story: Story, tmp_path: Path) -> None:
    data, keyring = story.data_before(tmp_path), story.keyring_before(tmp_path)
    rows = rows_of(data, GOES)
    sealer = Sealer(keyring)
    bodies = {open_row(sealer, GOES.shelf, row).event.data.body for row in rows["texts"]}
    assert (len(rows["texts"]), bodies) == (TEXTS, {"A pelican"})
    assert papers_opened(data, keyring, GOES) == len(rows["papers"]) > QUARANTINED


def test_no_row_of_a_copy_from_before_opens_with_the_keyring_from_after(story: Story, tmp_path: Path) -> None:
    data, keyring = story.data_before(tmp_path), story.keyring_now(tmp_path)
    sealer = Sealer(keyring)
    rows = rows_of(data, GOES)
    for row in rows["texts"]:
        with pytest.raises(SecretDestroyed):
            open_row(sealer, GOES.shelf, row)
    with pytest.raises(SecretDestroyed):
        papers_opened(data, keyring, GOES)
    assert len([open_row(sealer, STAYS.shelf, row) for row in rows_of(data, STAYS)["texts"]]) == TEXTS


def test_no_secret_in_the_keyring_from_after_is_the_one_that_opens_a_text_of_the_day(
    story: Story, tmp_path: Path
) -> None:
    """By the documented derivation alone, with every secret there is in the place of the day's."""
    row = rows_of(story.data_before(tmp_path), GOES)["texts"][0]
    before, after = story.keyring_before(tmp_path), story.keyring_now(tmp_path)
    assert [name for name in before.names() if opens(row, before, name)] == [f"shelf:{GOES.shelf}"]
    assert [name for name in after.names() if opens(row, after, name)] == []
    assert len(after.names()) > 430


def opens(row: Any, keyring: Keyring, name: str) -> bool:
    """Whether a text of the day opens when the secret of that name is taken for the day's."""
    secrets = keyring._held.ring.secrets
    info = b"".join(len(part).to_bytes(4, "big") + part for part in (b"body", GOES.shelf.encode(), row.org))
    material = secrets[name] + secrets[f"org:{row.org.hex()}"]
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(material)
    text_id = f"{GOES.shelf.replace('-', '')}-{row.tag.hex()}-{row.version}".encode()
    bound = b"".join(
        len(part).to_bytes(4, "big") + part for part in (b"\x01", GOES.shelf.encode(), row.org, text_id, row.commitment)
    )
    try:
        return b"A pelican" in AESGCM(key).decrypt(row.sealed[1:13], row.sealed[13:], bound)
    except InvalidTag:
        return False


def test_an_old_copy_of_the_ring_does_not_open_under_the_roots_there_are_now(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "keyring"
    shutil.copytree(story.world.keyring, folder)
    shutil.copy(story.before / "keyring" / "ring", folder / "ring")
    with pytest.raises(Unsound):
        opened(folder)


def test_no_service_starts_on_a_copy_from_before_with_the_keyring_from_after(story: Story, tmp_path: Path) -> None:
    world = World.make(tmp_path / "world")
    story.data_before(world.base)
    shutil.copytree(story.world.keyring, world.keyring)
    done = world.run("up", "--port", "0", "--json")
    assert done.returncode == 1
    assert b"restore a newer one" in done.stderr + done.stdout
    assert GOES.shelf.encode() in done.stderr + done.stdout


def test_a_service_does_start_on_a_copy_from_before_with_the_keyring_from_before(
    story: Story, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world = World.make(tmp_path / "world")
    story.data_before(world.base)
    shutil.copytree(story.before / "keyring", world.keyring)
    with up(world, *at(tool(request, "faketime"), TODAY), **FAKED) as service:
        assert sorted(found(service)) == sorted(story.ids[GOES.shelf] + story.ids[STAYS.shelf])
