"""What the texting service requires of an organisation, a location and a user, and which of it is missing. Pure.

The rules are those of the service's provider (docs/outcomes.md). What cannot be shown counts as missing.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from textkeep.archive.text import Handle
from textkeep.directory.records import Location, Org, User

Missing = Literal[
    "texting-off",
    "no-number",
    "unknown-user",
    "foreign-location",
    "foreign-pstn",
    "old-app",
    "no-plan",
    "no-add-on",
    "not-registered",
    "not-enterprise",
]
"""A requirement that is not met, by the name of its flag."""

HOME: Final = frozenset({"US", "CA", "PR", "VI", "GU", "MP", "AS"})
"""Countries whose locations may text: the United States with its territories, and Canada."""

FIRST_APP: Final = (42, 12)
"""The first app version that can text."""

_VERSION: Final = re.compile(r"([0-9]{1,6})\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the directory says of an organisation and one of its users at a moment."""

    handle: Handle
    org: Org
    location: Location | None
    user: User | None


def missing(facts: Facts, *, outbound: bool = True, app_version: str | None = None) -> list[Missing]:
    """The requirements that are not met, in the order in which the outcomes table names them.

    `app_version` is the one a text names, which counts before the user's. A campaign is asked of outbound texts only.
    """
    found: list[Missing] = []
    if facts.user is None:
        found.append("unknown-user")
        if app_version is not None and not app_can_text(app_version):
            found.append("old-app")
    else:
        found += _missing_of_user(facts.user, facts.location, app_version)
    org = facts.org
    if org.calling_plan is None:
        found.append("no-plan")
    if not org.add_on:
        found.append("no-add-on")
    if outbound and not org.campaign_registered:
        found.append("not-registered")
    if org.customer_type != "enterprise":
        found.append("not-enterprise")
    return found


def _missing_of_user(user: User, location: Location | None, app_version: str | None) -> list[Missing]:
    found: list[Missing] = []
    if not texting_on(user, location):
        found.append("texting-off")
    if user.number is None:
        found.append("no-number")
    if location is None or location.country not in HOME:
        found.append("foreign-location")
    if location is None or location.pstn != "cisco":
        found.append("foreign-pstn")
    if not app_can_text(app_version or user.app_version):
        found.append("old-app")
    return found


def texting_on(user: User, location: Location | None) -> bool:
    """The user's own setting, which wins over the switch of the location."""
    if user.texting == "default":
        return location is not None and location.texting
    return user.texting == "on"


@lru_cache(maxsize=1024)
def app_can_text(version: str) -> bool:
    """Whether a version is 42.12 or later, by its first two numbers; one that has none counts as too old."""
    numbers = _VERSION.match(version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= FIRST_APP
