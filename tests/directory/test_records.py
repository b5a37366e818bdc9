"""Directory records: what is taken, what is refused, and in which words."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.directory.records import (
    MAX_RECORD_BYTES,
    Location,
    Org,
    User,
    content_of,
    from_json,
    read_body,
    read_line,
    to_json,
)
from textkeep.errors import Malformed

ORG: dict[str, Any] = {
    "kind": "org",
    "org_id": "org-001",
    "customer_type": "enterprise",
    "calling_plan": "US",
    "add_on": True,
    "campaign_registered": True,
    "healthcare": False,
}
LOCATION: dict[str, Any] = {
    "kind": "location",
    "org_id": "org-001",
    "location_id": "loc-1",
    "country": "US",
    "pstn": "cisco",
    "texting": True,
}
USER: dict[str, Any] = {
    "kind": "user",
    "org_id": "org-001",
    "user_id": "user-1",
    "location_id": "loc-1",
    "number": "+12125550100",
    "texting": "default",
    "app_version": "44.6",
}
SECRET = "SECRET-VALUE-0001"


def line(record: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({**record, **members}).encode()


@pytest.mark.parametrize("record", [ORG, LOCATION, USER], ids=lambda record: record["kind"])
def test_a_record_of_each_kind_is_taken_and_comes_back_from_its_sealed_form(record: dict[str, Any]) -> None:
    read = read_line(line(record))
    assert content_of(read).items() >= record.items()
    assert from_json(to_json(read)) == read


def test_what_the_feed_tool_prints_is_taken(shared: Path) -> None:
    tool = shared / "tools" / "feed.py"
    feed = subprocess.run([sys.executable, tool, "--directory"], capture_output=True, check=True).stdout
    kinds = [type(read_line(each)) for each in feed.splitlines()]
    assert (kinds.count(Org), kinds.count(Location), kinds.count(User)) == (3, 3, 75)


@pytest.mark.parametrize(
    ("record", "members", "field"),
    [
        (ORG, {"customer_type": SECRET}, "customer_type"),
        (ORG, {"calling_plan": SECRET}, "calling_plan"),
        (ORG, {"add_on": SECRET}, "add_on"),
        (ORG, {"add_on": 1}, "add_on"),
        (ORG, {"healthcare": True}, "acknowledged_by"),
        (ORG, {"healthcare": True, "acknowledged_by": ""}, "acknowledged_by"),
        (ORG, {"org_id": ""}, "org_id"),
        (ORG, {"org_id": SECRET + "\x00"}, "org_id"),
        (ORG, {"org_id": SECRET * 20}, "org_id"),
        (ORG, {"org_id": [SECRET]}, "org_id"),
        (LOCATION, {"country": "usa"}, "country"),
        (LOCATION, {"pstn": SECRET}, "pstn"),
        (LOCATION, {"texting": "on"}, "texting"),
        (USER, {"texting": True}, "texting"),
        (USER, {"number": "+447700900123"}, "number"),
        (USER, {"number": "262966"}, "number"),
        (USER, {"number": SECRET}, "number"),
        (USER, {"number": 12125550100}, "number"),
        (USER, {"app_version": None}, "app_version"),
        (USER, {"since": "2026-01-01T00:00:00"}, "since"),
        (USER, {"since": 5}, "since"),
        (USER, {"since": SECRET}, "since"),
        (USER, {"since": "0001-01-01T00:00:00+14:00"}, "since"),
        (USER, {"kind": SECRET}, "kind"),
        (USER, {SECRET: 1}, None),
    ],
)
def test_a_wrong_member_is_named_and_its_value_is_not(
    record: dict[str, Any], members: dict[str, Any], field: str | None
) -> None:
    with pytest.raises(Malformed) as refusal:
        read_line(line(record, **members))
    assert refusal.value.field == field
    assert SECRET not in refusal.value.detail
    assert refusal.value.__cause__ is None
    assert SECRET not in repr(refusal.value)


@pytest.mark.parametrize("member", sorted(USER))
def test_a_missing_member_is_named(member: str) -> None:
    with pytest.raises(Malformed) as refusal:
        read_line(json.dumps({name: value for name, value in USER.items() if name != member}).encode())
    assert refusal.value.field == member


@pytest.mark.parametrize(
    "written",
    [b"", b"null", b"[]", b"5", b"{", b"\xff", b"[" * 5000, b'{"org_id": "\\ud800"}', b" " * (MAX_RECORD_BYTES + 1)],
)
def test_what_is_no_object_is_refused(written: bytes) -> None:
    with pytest.raises(Malformed):
        read_line(written)


def test_a_healthcare_organisation_needs_a_recorded_acknowledgement() -> None:
    with pytest.raises(Malformed, match="HIPAA"):
        read_line(line(ORG, healthcare=True))
    read = read_line(line(ORG, healthcare=True, acknowledged_by="A. Person"))
    assert isinstance(read, Org)
    assert read.healthcare


def test_a_body_may_leave_out_what_the_path_says_and_may_not_contradict_it() -> None:
    body = {name: value for name, value in USER.items() if name not in ("kind", "org_id", "user_id")}
    keys = {"org_id": "org-001", "user_id": "user-1"}
    assert read_body(body, "user", keys) == read_body(USER, "user", keys) == read_line(line(USER))
    with pytest.raises(Malformed) as refusal:
        read_body(USER, "user", {"org_id": "org-001", "user_id": "user-2"})
    assert refusal.value.field == "user_id"


@pytest.mark.parametrize("number", [float("nan"), "\ud800"])
def test_a_body_that_json_cannot_carry_is_refused(number: object) -> None:
    with pytest.raises(Malformed):
        read_body({**USER, "number": number}, "user", {})


def test_a_moment_is_kept_in_utc() -> None:
    read = read_line(line(USER, since="2026-01-01T00:00:00-05:00"))
    assert read.since is not None
    assert read.since.isoformat() == "2026-01-01T05:00:00+00:00"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([ORG, LOCATION, USER]), st.sampled_from(sorted(USER)), JSON)
def test_whatever_a_member_holds_it_is_taken_or_refused_as_malformed(
    record: dict[str, Any], member: str, value: object
) -> None:
    with contextlib.suppress(Malformed):
        assert read_body({**record, member: value}, record["kind"], {}).kind in ("org", "location", "user")
