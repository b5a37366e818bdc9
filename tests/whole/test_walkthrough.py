"""docs/walkthrough.md, run as it stands: from a hold to a verified report, by people with a token each."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.engines import tool
from tests.whole.commanding import FAKED, Up, World, at, up
from tests.whole.living import STREAM, location, organisation, stream, text, user
from textkeep.archive.shelf import Day

TODAY: Final = datetime(2027, 3, 8, 12, tzinfo=UTC)
GOES: Final = Day.of(TODAY).plus(-400)
"""The day whose last text turns 400 days old at the next midnight."""

PAGE: Final = Path(__file__).parents[2] / "docs" / "walkthrough.md"


BODIES: Final = ("the merger", "lunch", "merger again")


def load(service: Up) -> None:
    """Three texts of the day that goes."""
    records = [organisation(), location(), user("u-1", "+12125550101")]
    texts = [text(f"m-{at}", GOES.end() - timedelta(minutes=at + 1), body=body) for at, body in enumerate(BODIES)]
    with service.local() as client:
        for path, lines in (("/v1/directory", records), ("/v1/texts", texts)):
            answer = client.post(path, content=stream(lines), headers={"Content-Type": STREAM})
            answer.raise_for_status()
    service.wait_until_findable()


def released(service: Up) -> str:
    """Wait for the report of a release; its name."""
    with service.local() as client:
        while True:
            told = client.get("/local/reports").raise_for_status().json()
            found = [each["name"] for each in told if each["kind"] == "release"]
            if found:
                return str(found[0])


def blocks() -> Iterator[str]:
    """The commands of the page, one fenced block after another."""
    return iter(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE))


@dataclass
class People:
    """A shell on everybody's machine, under the clock of the moment."""

    world: World
    faketime: str
    left: Iterator[str]
    said: dict[str, str]

    def do(self, moment: datetime, service: Up, **said: str) -> str:
        """Run the next block; what it printed."""
        self.said.update(said)
        here = self.world.base / "work"
        shell = here / "textkeep"
        shell.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m textkeep "$@"\n')
        shell.chmod(0o700)
        environment = self.world.environment(**FAKED, **self.said)
        environment.pop("TEXTKEEP_DATA")
        environment["PATH"] = f"{here}:{environment['PATH']}"
        block = next(self.left)
        if "--data" not in block:
            environment["TEXTKEEP_URL"] = service.url
        words = [*at(self.faketime, moment), "sh", "-eu", "-c", block]
        done = subprocess.run(words, capture_output=True, env=environment, cwd=here, check=False)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        return (done.stdout + done.stderr).decode()


def test_the_page_leads_five_people_from_a_hold_to_two_verified_reports(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    faketime = tool(request, "faketime")
    world = World.make(tmp_path / "world")
    people = People(world, faketime, blocks(), {})
    (world.base / "work" / "archive").symlink_to(world.data)
    with up(world, *at(faketime, TODAY), **FAKED) as service:
        load(service)
        people.do(TODAY, service)
        said = people.do(TODAY, service)
        assert "Doe v. Roe" in said
    later = TODAY + timedelta(days=1)
    with up(world, *at(faketime, later), **FAKED) as service:
        service.wait_until_closed([GOES.shelf])
        service.wait_until_findable()
        assert "the merger" in people.do(later, service)
        people.do(later, service, DAY=GOES.shelf)
        assert "VERIFIED" in people.do(later, service)
        people.do(later, service)
        [digest] = re.findall(r"--digest ([0-9a-f]{64})", people.do(later, service))
        people.do(later, service, DIGEST=digest)
    last = later + timedelta(days=1, hours=1)
    with up(world, *at(faketime, last), **FAKED) as service:
        assert "VERIFIED" in people.do(last, service, RELEASE=released(service))
    assert not list(people.left), "the page has more than was done"
