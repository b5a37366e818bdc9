"""What a copy of data and keyring opens: until `erased_at` what the report says is not yet erased, after it nothing."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.housing import NOON, SetClock, event
from tests.service.conftest import as_before
from tests.service.test_wiring import RECORDS
from textkeep.access.principal import LOCAL, Principal
from textkeep.archive import backup
from textkeep.archive.confirmed import RING
from textkeep.archive.drivers.keyring_file import FolderStore
from textkeep.archive.drivers.root_local import LocalRoot
from textkeep.archive.drivers.roots import in_token
from textkeep.archive.keyring import shelf_secret
from textkeep.archive.ring import Ring, opened, sealed
from textkeep.archive.text import TextId
from textkeep.errors import Outage, TextkeepError, Unsound
from textkeep.ledger import log
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

DAY = "2025-10-18"
"""The oldest day at NOON; it is due at the next midnight."""

SENT = f"{DAY}T18:00:00.000Z"
BODY = "the words of this text, sixteen characters and more"


@dataclass
class Thief:
    """Whoever copied the data, and got hold of a keyring's ring with what opens it; their clock says NOON."""

    folder: Path
    data: Path

    def reads(self, ring: Ring, text_id: str, name: str) -> str | None:
        """The text, with a ring in hand; None where the ring does not open it."""
        place = self.folder / name
        shutil.copytree(self.data, place)
        keyring = place.with_name(place.name + "-keyring")
        root = LocalRoot(keyring / "roots")
        own = Ring(ring.generation, root.create(), ring.secrets, ring.tombstones, frozenset())
        FolderStore(keyring).swap(RING, None, sealed(own, root))
        try:
            with closing(Archive.open(Settings(data=place), SetClock(NOON))) as archive:
                org = archive.organisations.all()["org-001"]
                wanted = TextId.parse(text_id)
                found = archive.vault.read([(org, wanted)])
                return str(json.loads(found[wanted].raw)["data"]["body"])
        except TextkeepError:
            return None


@pytest.fixture
def alone() -> Iterator[None]:
    with as_before(), pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEXTKEEP_")]:
            patch.delenv(name)
        yield


def test_a_backup_opens_what_is_not_yet_erased_and_nothing_after_that(
    alone: None, softhsm: str, tmp_path: Path
) -> None:
    (tmp_path / "archive").mkdir()
    settings = Settings(data=tmp_path / "archive", root_key=softhsm, keyring_backups=tmp_path / "backups")
    clock = SetClock(NOON)
    with closing(Archive.open(settings, clock)) as archive:
        archive.directory.put_all(RECORDS)
        text_id = taken(archive)
        clock.forward(hours=1)
        archive.keys.tend()
        name = archive.keyring.identity()
    # What somebody copies within the backup's life: the data, the backups, the ring.
    shutil.copytree(settings.folder, tmp_path / "thief" / "data")
    shutil.copytree(tmp_path / "backups", tmp_path / "thief" / "backups")
    old_ring = (settings.keyring_folder / RING).read_bytes()
    thief = Thief(tmp_path / "thief", tmp_path / "thief" / "data")
    tokens = in_token(softhsm, name, "backup")
    assert tokens is not None
    copied = [path.read_bytes() for path in (tmp_path / "thief" / "backups").iterdir()]
    assert copied

    clock.now = datetime.fromisoformat("2026-11-23T01:00:00+00:00")
    with closing(Archive.open(settings, clock)) as archive:
        assert archive.purge.run(clock()).stopped is None
        told = archive.keys.erasures.of(shelf_secret(DAY))
        assert told.erased_at is not None
        assert told.erased_at == max(copy.expires_at for copy in told.known)
        assert {backup.header_of(each).id for each in copied} <= {copy.id for copy in told.known}
        assert clock() < told.erased_at <= clock() + timedelta(days=7)
        archive.schedule.run()
        assert erased(archive) == []

    # The ring of then is closed at once, whoever has it; a backup opens until its life ends.
    rings = in_token(softhsm, name, "ring")
    assert rings is not None
    with pytest.raises(Unsound):
        opened(old_ring, rings)
    last = max(copied, key=lambda each: backup.header_of(each).expires_at)
    ring = backup.opened(last, tokens, NOON).ring
    assert thief.reads(ring, text_id, "before") == BODY

    clock.now = told.erased_at
    with closing(Archive.open(settings, clock)) as archive:
        archive.schedule.run()
        assert archive.keys.erasures.of(shelf_secret(DAY)).done
        (entry,) = erased(archive)
        assert entry["secret"] == shelf_secret(DAY)
        assert entry["erased_at"] == log.moment(told.erased_at)
        archive.schedule.run()
        assert len(erased(archive)) == 1
        newest = archive.keyring.ring()
    for each in copied:
        with pytest.raises((Unsound, Outage)):
            backup.opened(each, tokens, NOON)
    # Nor does what the house itself still has.
    assert shelf_secret(DAY) not in newest.secrets
    assert thief.reads(newest, text_id, "after") is None


def taken(archive: Archive) -> str:
    """The id of the one text that there is."""
    producer = Principal(archive.local.person, LOCAL, frozenset({"producer"}), None)
    (found,) = archive.intake.take(producer, [[json.dumps(event(1, body=BODY, sent_at=SENT)).encode()]])
    assert found.accepted == 1
    return str(found.items[0].text_id)


def erased(archive: Archive) -> list[dict[str, object]]:
    with archive.store.reading() as connection:
        return [entry.body for entry in log.entries(connection, kinds={"erased"})]
