"""What the texting service requires, one requirement at a time."""

from typing import Any

import pytest

from textkeep.archive.text import Handle
from textkeep.directory.records import Location, Org, User
from textkeep.directory.requirements import Facts, app_can_text, missing, texting_on

ORG: dict[str, Any] = {
    "org_id": "o",
    "customer_type": "enterprise",
    "calling_plan": "US",
    "add_on": True,
    "campaign_registered": True,
    "healthcare": False,
}
LOCATION: dict[str, Any] = {"org_id": "o", "location_id": "l", "country": "US", "pstn": "cisco", "texting": True}
USER: dict[str, Any] = {
    "org_id": "o",
    "user_id": "u",
    "location_id": "l",
    "number": "+12125550100",
    "texting": "default",
    "app_version": "42.12",
}


def facts(
    org: dict[str, Any] | None = None, location: dict[str, Any] | None = None, user: dict[str, Any] | None = None
) -> Facts:
    """An organisation, location and user with everything in order, but for the members that are given."""
    return Facts(
        Handle(bytes(range(8))),
        Org(**ORG | (org or {})),
        Location(**LOCATION | (location or {})),
        User(**USER | (user or {})),
    )


def test_nothing_is_missing_where_everything_is_in_order() -> None:
    assert missing(facts()) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (facts(location={"texting": False}), "texting-off"),
        (facts(user={"texting": "off"}), "texting-off"),
        (facts(user={"number": None}), "no-number"),
        (facts(location={"country": "MX"}), "foreign-location"),
        (facts(location={"pstn": "other"}), "foreign-pstn"),
        (facts(user={"app_version": "42.11"}), "old-app"),
        (facts(org={"calling_plan": None}), "no-plan"),
        (facts(org={"add_on": False}), "no-add-on"),
        (facts(org={"campaign_registered": False}), "not-registered"),
        (facts(org={"customer_type": "online"}), "not-enterprise"),
        (facts(org={"customer_type": "trial"}), "not-enterprise"),
    ],
)
def test_each_requirement_is_told_by_its_name(changed: Facts, expected: str) -> None:
    assert missing(changed) == [expected]


def test_an_unknown_user_is_told_as_that_alone() -> None:
    known = facts()
    unknown = Facts(known.handle, known.org, None, None)
    assert missing(unknown) == ["unknown-user"]
    assert missing(unknown, app_version="40.1") == ["unknown-user", "old-app"]


def test_what_is_not_known_of_a_location_counts_as_missing() -> None:
    known = facts()
    assert missing(Facts(known.handle, known.org, None, known.user)) == [
        "texting-off",
        "foreign-location",
        "foreign-pstn",
    ]


def test_a_campaign_is_asked_of_outbound_texts_only() -> None:
    assert missing(facts(org={"campaign_registered": False}), outbound=False) == []


def test_the_version_that_a_text_names_counts_before_the_users() -> None:
    assert missing(facts(user={"app_version": "40.1"}), app_version="44.6") == []
    assert missing(facts(), app_version="40.1") == ["old-app"]


@pytest.mark.parametrize(("setting", "switch", "on"), [("default", True, True), ("default", False, False)])
def test_default_follows_the_switch_of_the_location(setting: str, switch: bool, on: bool) -> None:
    made = facts(location={"texting": switch}, user={"texting": setting})
    assert made.user is not None
    assert texting_on(made.user, made.location) is on


@pytest.mark.parametrize("switch", [True, False])
def test_the_users_own_setting_wins_over_the_switch(switch: bool) -> None:
    for setting in ("on", "off"):
        made = facts(location={"texting": switch}, user={"texting": setting})
        assert made.user is not None
        assert texting_on(made.user, made.location) is (setting == "on")


def test_a_setting_wins_never_over_a_missing_plan_location_or_number() -> None:
    made = facts(org={"calling_plan": None}, location={"country": "FR"}, user={"texting": "on", "number": None})
    assert missing(made) == ["no-number", "foreign-location", "no-plan"]


@pytest.mark.parametrize(
    ("version", "can"),
    [
        *(("42.12", True), ("42.12.0.1", True), ("42.13", True), ("43.0", True), ("100.1", True), ("44.6 beta", True)),
        *(("42.11", False), ("42.2", False), ("9.99", False), ("", False), ("new", False), ("42", False)),
    ],
)
def test_versions_compare_by_number_and_an_unreadable_one_is_too_old(version: str, can: bool) -> None:
    assert app_can_text(version) is can


@pytest.mark.parametrize("country", ["US", "CA", "PR", "VI", "GU", "MP", "AS"])
def test_locations_in_the_united_states_their_territories_and_canada_may_text(country: str) -> None:
    assert missing(facts(location={"country": country})) == []
