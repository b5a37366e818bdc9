"""What is loaded: texts from the shared corpus where it is there, else from a small vocabulary of our own."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path

SHARED = Path(os.environ.get("TEXTKEEP_SHARED", Path(__file__).parents[2] / "shared"))
ORGS = 3
USERS = 25
BATCH = 1000


def directory() -> list[bytes]:
    """The organisations and users of the feed."""
    if _tool().exists():
        return _tool_output("--directory")
    lines = []
    for org in range(1, ORGS + 1):
        name = f"org-{org:03d}"
        lines += [
            {
                "kind": "org",
                "org_id": name,
                "customer_type": "enterprise",
                "calling_plan": "US",
                "add_on": True,
                "campaign_registered": True,
                "healthcare": False,
            },
            {
                "kind": "location",
                "org_id": name,
                "location_id": f"{name}-loc-1",
                "country": "US",
                "pstn": "cisco",
                "texting": True,
            },
        ]
        lines += [
            {
                "kind": "user",
                "org_id": name,
                "user_id": f"{name}-user-{user:04d}",
                "location_id": f"{name}-loc-1",
                "number": f"+1212555{100 + user:04d}",
                "texting": "default",
                "app_version": "44.6",
            }
            for user in range(1, USERS + 1)
        ]
    return [json.dumps(line).encode() for line in lines]


def texts(count: int, days: int = 398, until: date | None = None) -> list[bytes]:
    """`count` texts over `days` days that end on `until` (yesterday), in the order they were sent."""
    last = until or (datetime.now(UTC).date() - timedelta(days=1))
    if _tool().exists():
        return _tool_output("--texts", str(count), "--days", str(days), "--until", last.isoformat())
    return [json.dumps(_text(number, count, days, last)).encode() for number in range(count)]


def batches(lines: list[bytes]) -> list[list[bytes]]:
    """The feed as requests of 1,000 records."""
    return [lines[start : start + BATCH] for start in range(0, len(lines), BATCH)]


def requests(path: Path) -> Iterator[list[bytes]]:
    """The feed of a file as requests of 1,000 records, read one by one."""
    with path.open("rb") as file:
        while request := [line.rstrip(b"\n") for line in islice(file, BATCH)]:
            yield request


def _text(number: int, count: int, days: int, last: date) -> dict[str, object]:
    rng = random.Random(number)
    day = last - timedelta(days=days - 1 - number * days // count)
    seconds = (number * days % count) * 86_000 // count
    sent = (datetime.combine(day, time(), UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    org = f"org-{rng.randrange(ORGS) + 1:03d}"
    words = [f"word{int(rng.paretovariate(0.8)) % 8000}" for _ in range(rng.randrange(4, 26))]
    user = rng.randrange(USERS) + 1
    return {
        "specversion": "1.0",
        "type": "textkeep.text.v1",
        "id": f"txt-{number:010d}",
        "source": f"/messaging/{org}",
        "time": sent,
        "data": {
            "org_id": org,
            "user_id": f"{org}-user-{user:04d}",
            "direction": "outbound",
            "channel": "sms",
            "from": f"+1212555{100 + user:04d}",
            "to": f"+1313555{rng.randrange(100, 200):04d}",
            "body": " ".join(words),
            "sent_at": sent,
            "disposition": "delivered",
        },
    }


def _tool() -> Path:
    return SHARED / "tools" / "feed.py"


def _tool_output(*arguments: str) -> list[bytes]:
    ran = subprocess.run([sys.executable, str(_tool()), *arguments], check=True, capture_output=True)
    return ran.stdout.splitlines()
