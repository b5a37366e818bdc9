"""Several processes that start at the same moment, in any order, on an archive that is not there yet."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Barrier

import httpx
import pytest
from sqlalchemy import make_url

from tests.engines.databases import Pair
from tests.service.conftest import Cli
from tests.service.many import Shared, sharing
from textkeep.archive.keyring import HOUSE_SECRET, HOUSE_SHELF
from textkeep.archive.shelf import open_days
from textkeep.archive.text import HOUSE
from textkeep.errors import Malformed, Outage, Unsound
from textkeep.service import wiring
from textkeep.service.folder import Held
from textkeep.service.parts import Part
from textkeep.service.settings import Settings
from textkeep.service.wiring import Archive

PARTS: tuple[Part, ...] = ("api", "consume", "follow", "keep")


@pytest.fixture
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    with sharing(request, tmp_path / "a") as made:
        yield made


def opened_at_once(settings: Settings, closed: ExitStack) -> list[Archive]:
    """One archive for each part, in threads that begin together; none of them needs an index that answers."""
    together = Barrier(len(PARTS))

    def begin(part: Part) -> Archive:
        together.wait()
        return closed.enter_context(closing(Archive.open(settings, parts=(part,), kind=part)))

    with ThreadPoolExecutor(len(PARTS)) as pool:
        return list(pool.map(begin, PARTS))


@pytest.mark.parametrize("time", [1, 2, 3])
def test_four_processes_that_start_at_once_on_nothing_make_one_archive(shared: Shared, time: int) -> None:
    with ExitStack() as closed:
        archives = opened_at_once(shared.service, closed)
        assert len({archive.keyring.commitment(HOUSE_SECRET) for archive in archives}) == 1
        wanted = [day.shelf for day in open_days(archives[0].clock())]
        for archive in archives:
            with archive.store.reading() as connection:
                archive.shelves.check(connection)
                assert [row.name for row in archive.shelves.list(connection)] == wanted
        sealed = archives[0].sealer.seal("directory", HOUSE_SHELF, HOUSE, (b"x",), b"told")
        assert {each.sealer.open("directory", HOUSE_SHELF, HOUSE, (b"x",), sealed) for each in archives} == {b"told"}
        roots = [path for path in shared.service.roots_folder.rglob("*") if path.is_file()]
        archives[-1].keyring.finish()
        assert len([path for path in roots if path.exists()]) == 1


def test_a_later_start_finds_what_the_first_one_made(shared: Shared) -> None:
    with closing(Archive.open(shared.service, parts={"api"})) as first:
        handle = first.organisations.register("org-001")
    with closing(Archive.open(shared.service, parts={"keep"})) as second:
        assert second.organisations.find("org-001") == handle


def test_without_its_keyring_the_data_is_left_alone_and_no_ring_is_made(
    shared: Shared, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with closing(Archive.open(shared.service, parts={"api"})) as first:
        first.organisations.register("org-001")
    with sharing(request, tmp_path / "b") as other:
        foreign = shared.service.model_copy(update={"keyring_url": other.owner.keyring_url})
        for _ in range(2):
            with pytest.raises(Unsound, match="keyring is missing"):
                Archive.open(foreign)


def test_without_its_data_a_keyring_is_left_alone(
    shared: Shared, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with closing(Archive.open(shared.service, parts={"api"})) as first:
        first.organisations.register("org-001")
    with sharing(request, tmp_path / "b") as other:
        foreign = shared.service.model_copy(update={"database_url": other.owner.database_url})
        with pytest.raises(Unsound, match="data it belongs to is missing"):
            Archive.open(foreign)


def test_a_database_that_nobody_migrated_is_refused_by_the_name_of_the_command(postgres: str, shared: Shared) -> None:
    with pytest.raises(Unsound) as refused:
        Archive.open(shared.service.model_copy(update={"database_url": postgres}))
    assert "textkeep migrate" in refused.value.remedy
    assert not shared.service.roots_folder.exists()


def test_an_index_address_that_is_none_is_told_before_anything_is_made(shared: Shared) -> None:
    with pytest.raises(Malformed) as refused:
        Archive.open(shared.service.model_copy(update={"index_url": "https://u:canary-1234567890@h:9200/p?colour=red"}))
    assert "canary" not in f"{refused.value} {refused.value.remedy}"
    assert not shared.service.roots_folder.exists()


def test_keyring_and_data_in_one_database_are_refused_by_whichever_names(shared: Shared) -> None:
    one = (shared.owner.database_url or "").replace("127.0.0.1", "localhost")
    with pytest.raises(Unsound, match="one database"):
        Archive.open(shared.owner.model_copy(update={"keyring_url": one}))


def test_what_cannot_be_shared_is_had_by_one_process_at_a_time(shared: Shared, tmp_path: Path) -> None:
    def settings(name: str) -> Settings:
        (tmp_path / name).mkdir()
        return shared.service.model_copy(update={"data": tmp_path / name, "index_url": None, "root_key": root})

    root = f"file://{tmp_path}/roots"
    here, there = settings("here"), settings("there")
    with closing(Archive.open(here)):
        with pytest.raises(Held, match="cannot be shared"):
            Archive.open(there)
        with pytest.raises(Held, match="cannot be shared"):
            Archive.open(shared.service.model_copy(update={"root_key": root}), parts={"api"})
    with (
        closing(Archive.open(shared.service.model_copy(update={"root_key": root}), parts={"api"})),
        pytest.raises(Held, match="cannot be shared"),
    ):
        Archive.open(here)


def test_an_engine_that_does_not_answer_is_an_outage_that_quotes_no_password(shared: Shared) -> None:
    gone = "postgresql://keeper:canary-1234567890@127.0.0.1:9/texts"
    for setting in ("database_url", "keyring_url"):
        with pytest.raises(Outage) as outage:
            Archive.open(shared.service.model_copy(update={setting: gone}))
        assert "canary" not in f"{outage.value} {outage.value.remedy} {outage.value.__cause__}"


def test_the_doctor_names_the_engine_that_does_not_answer(shared: Shared) -> None:
    gone = {**shared.given(), "database_url": "postgresql://keeper:canary-1234567890@127.0.0.1:9/texts"}
    told = Cli(shared.service.folder)("doctor", "--json", code=1, **gone)
    findings = {finding["check"]: finding for finding in json.loads(told.stdout)["findings"]}
    assert "database does not answer" in findings["start"]["what"]
    assert b"canary" not in told.stdout + told.stderr
    assert Cli(shared.service.folder)("token", "list", code=3, **gone).stdout == b""


def test_up_works_beside_other_processes_of_a_shared_archive(shared: Shared) -> None:
    with closing(Archive.open(shared.service, parts={"api"}, kind="api")) as other:
        process = Cli(shared.service.folder, own_process=True).start("up", "--port", "0", "--json", **shared.given())
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert Cli(shared.service.folder).json("token", "list", **shared.given())["tokens"] != []
            assert (shared.service.folder / "token").exists()
            assert other.following
            assert httpx.get(told["url"] + "/readyz", timeout=60).status_code == 200
        finally:
            process.terminate()
            _, log = process.communicate()
        assert process.returncode == 0, log
        assert not other.following


def test_migrating_again_or_at_the_same_moment_changes_nothing(shared: Shared, postgres_pair: Pair) -> None:
    assert wiring.migrate(shared.owner, shared.role)["migrated"] is False
    blank = shared.owner.model_copy(update={"database_url": postgres_pair.data, "keyring_url": postgres_pair.keyring})
    with ThreadPoolExecutor(3) as pool:
        told = list(pool.map(lambda _: wiring.migrate(blank, None), range(3)))
    assert sorted(each["migrated"] for each in told) == [False, False, True]
    with closing(Archive.open(blank, parts={"api"})) as archive:
        assert archive.organisations.register("org-001")


def test_a_role_that_could_help_itself_is_refused(shared: Shared) -> None:
    owner = make_url(shared.owner.database).username
    with pytest.raises(Unsound) as refused:
        wiring.migrate(shared.owner, owner)
    assert refused.value.field == "--service-role"
