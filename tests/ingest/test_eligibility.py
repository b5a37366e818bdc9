"""Every row of the outcomes table that ingest decides, every flag, and that the first row that applies wins."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.housing import event
from textkeep.archive.text import Handle
from textkeep.directory.records import Location, Org, User
from textkeep.directory.requirements import Facts
from textkeep.ingest.eligibility import FLAGS, Verdict, decide
from textkeep.ingest.wire import Parsed, parse

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OWN, PEER, OTHER = "+12125550101", "+13125550102", "+14155550103"

KNOWN = Facts(
    Handle(bytes(range(8))),
    Org(
        org_id="org-001",
        customer_type="enterprise",
        calling_plan="US",
        add_on=True,
        campaign_registered=True,
        healthcare=False,
    ),
    Location(org_id="org-001", location_id="loc-1", country="US", pstn="cisco", texting=True),
    User(
        org_id="org-001",
        user_id="org-001-user-0001",
        location_id="loc-1",
        number=OWN,
        texting="default",
        app_version="44.6",
    ),
)


def facts(**changed: dict[str, Any]) -> Facts:
    """What is known, but for some members of `org`, `location` or `user`."""
    parts = {name: getattr(KNOWN, name).model_copy(update=members) for name, members in changed.items()}
    return replace(KNOWN, **parts)


def record(**data: Any) -> Any:
    return parse(json.dumps(event(1, **{"from": OWN, "to": PEER, **data})).encode())


def sent(**ago: float) -> str:
    return (NOW - timedelta(**ago)).isoformat()


def test_row_2_what_is_not_of_the_form_is_quarantined_by_its_reason() -> None:
    for raw, reason, field in (
        (b"not JSON", "unreadable", None),
        (json.dumps(event(1, **{"from": None})).encode(), "malformed", "data.from"),
        (json.dumps(event(body="x" * 70_000)).encode(), "too-long", "data.body"),
    ):
        verdict = decide(parse(raw), KNOWN, NOW)
        assert (verdict.kind, verdict.reason, verdict.field) == ("quarantine", reason, field)


def test_row_3_an_organisation_that_is_not_known_is_quarantined() -> None:
    verdict = decide(record(), None, NOW)
    assert (verdict.kind, verdict.reason) == ("quarantine", "unknown-organisation")


def test_row_4_a_text_of_400_days_is_refused_and_a_millisecond_less_is_not() -> None:
    verdict = decide(record(sent_at=sent(days=400)), KNOWN, NOW)
    assert (verdict.kind, verdict.reason) == ("refuse", "expired")
    assert decide(record(sent_at=sent(days=400, milliseconds=-1)), KNOWN, NOW).kind == "accept"


def test_row_5_a_text_more_than_ten_minutes_ahead_is_quarantined() -> None:
    verdict = decide(record(sent_at=sent(minutes=-10, milliseconds=-1)), KNOWN, NOW)
    assert (verdict.kind, verdict.reason) == ("quarantine", "future")
    assert decide(record(sent_at=sent(minutes=-10)), KNOWN, NOW).kind == "accept"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"channel": "mms"}, "mms"),
        ({"channel": "MMS"}, "mms"),
        ({"channel": "mms", "to": [PEER, OTHER]}, "mms"),
        ({"to": [PEER, OTHER]}, "group"),
        ({"direction": "inbound", "from": [PEER, OTHER], "to": OWN}, "group"),
        ({"to": [PEER]}, "group"),
        ({"to": "+447700900123"}, "international"),
        ({"to": "+18765550123"}, "international"),
        ({"to": "+12425550123"}, "international"),
        ({"direction": "inbound", "from": "+33639980000", "to": OWN}, "international"),
        ({"to": "+447700900123", "channel": "whatsapp"}, "international"),
        ({"channel": "whatsapp"}, "channel"),
        ({"channel": "SMS"}, "channel"),
    ],
)
def test_row_6_what_is_no_domestic_sms_of_one_person_to_one_is_quarantined(data: dict[str, Any], reason: str) -> None:
    verdict = decide(record(**data), KNOWN, NOW)
    assert (verdict.kind, verdict.reason) == ("quarantine", reason)


@pytest.mark.parametrize("peer", ["+17875550123", "+16715550123", "+18005550123", "262966", "12345"])
def test_territories_toll_free_numbers_and_short_codes_are_domestic(peer: str) -> None:
    assert decide(record(to=peer), KNOWN, NOW) == Verdict("accept")


@pytest.mark.parametrize(
    ("known", "data", "flags"),
    [
        (facts(location={"texting": False}), {}, ("texting-off",)),
        (facts(user={"texting": "off"}), {}, ("texting-off",)),
        (facts(user={"texting": "on"}, location={"texting": False}), {}, ()),
        (facts(user={"number": None}), {}, ("no-number",)),
        (replace(KNOWN, user=None, location=None), {}, ("unknown-user",)),
        (KNOWN, {"from": OTHER}, ("not-own-number",)),
        (KNOWN, {"direction": "inbound", "from": PEER, "to": OTHER}, ("not-own-number",)),
        (KNOWN, {"direction": "inbound", "from": PEER, "to": OWN}, ()),
        (facts(location={"country": "MX"}), {}, ("foreign-location",)),
        (facts(location={"country": "CA"}), {}, ()),
        (facts(location={"pstn": "other"}), {}, ("foreign-pstn",)),
        (facts(user={"app_version": "42.11"}), {}, ("old-app",)),
        (KNOWN, {"app_version": "41.2"}, ("old-app",)),
        (facts(user={"app_version": "42.11"}), {"app_version": "42.12"}, ()),
        (facts(org={"calling_plan": None}), {}, ("no-plan",)),
        (facts(org={"add_on": False}), {}, ("no-add-on",)),
        (facts(org={"campaign_registered": False}), {}, ("not-registered",)),
        (facts(org={"campaign_registered": False}), {"direction": "inbound", "from": PEER, "to": OWN}, ()),
        (facts(org={"customer_type": "trial"}), {}, ("not-enterprise",)),
        (facts(org={"healthcare": True}), {}, ("healthcare",)),
        (KNOWN, {"sent_at": sent(days=7, milliseconds=1)}, ("late",)),
        (KNOWN, {"sent_at": sent(days=7)}, ()),
        (KNOWN, {"disposition": "blocked", "reason": "something-new"}, ()),
        (
            facts(user={"number": None}, org={"healthcare": True, "add_on": False}),
            {"sent_at": sent(days=8)},
            ("no-number", "no-add-on", "healthcare", "late"),
        ),
    ],
)
def test_row_9_what_is_amiss_is_flagged(known: Facts, data: dict[str, Any], flags: tuple[str, ...]) -> None:
    assert decide(record(**data), known, NOW) == Verdict("accept", flags=flags)


def test_row_10_a_business_text_with_everything_in_order_has_no_flags() -> None:
    assert decide(record(), KNOWN, NOW) == Verdict("accept")


ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("malformed", {"disposition": "lost"}),
    ("unknown-organisation", {}),
    ("expired", {"sent_at": sent(days=500)}),
    ("future", {"sent_at": sent(days=-500)}),
    ("mms", {"channel": "mms"}),
    ("group", {"to": [PEER, OTHER]}),
    ("international", {"from": "+447700900123"}),
    ("channel", {"channel": "pigeon"}),
)


@given(st.sets(st.sampled_from([reason for reason, _ in ROWS])), st.booleans(), st.booleans())
def test_the_first_row_that_applies_wins(findings: set[str], healthcare: bool, late: bool) -> None:
    """Every set of findings that one record can have; of two that exclude each other the later one is left out."""
    applying: list[str] = []
    data: dict[str, Any] = {"sent_at": sent(days=30 if late else 1)}
    taken: set[str] = set()
    for reason, members in ROWS:
        if reason in findings and not (taken & members.keys()):
            applying.append(reason)
            taken |= members.keys()
            data |= members
    known = None if "unknown-organisation" in applying else facts(org={"healthcare": healthcare}, user={"number": None})
    verdict = decide(record(**data), known, NOW)
    if applying:
        assert verdict.reason == applying[0]
        assert verdict.kind == ("refuse" if applying[0] == "expired" else "quarantine")
        assert verdict.flags == ()
    else:
        assert verdict.kind == "accept"
        assert verdict.flags == ("no-number", *["healthcare"] * healthcare, *["late"] * late)


@given(
    st.sampled_from(["default", "on", "off"]),
    *(st.booleans() for _ in range(9)),
    st.sampled_from([None, "41.0", "44.6", "?"]),
)
def test_flags_are_known_told_once_and_in_the_order_of_the_table(
    texting: str,
    switch: bool,
    number: bool,
    home: bool,
    cisco: bool,
    plan: bool,
    add_on: bool,
    registered: bool,
    enterprise: bool,
    user: bool,
    version: str | None,
) -> None:
    made = facts(
        user={"texting": texting, "number": OWN if number else None},
        location={"texting": switch, "country": "US" if home else "FR", "pstn": "cisco" if cisco else "other"},
        org={
            "calling_plan": "US" if plan else None,
            "add_on": add_on,
            "campaign_registered": registered,
            "customer_type": "enterprise" if enterprise else "online",
        },
    )
    parsed = record(app_version=version)
    assert isinstance(parsed, Parsed)
    flags = decide(parsed, made if user else replace(made, user=None, location=None), NOW).flags
    assert list(flags) == [flag for flag in FLAGS if flag in flags]
    assert ("no-plan" in flags) is not plan
    assert ("unknown-user" in flags) is not user
