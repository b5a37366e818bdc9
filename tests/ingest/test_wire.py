"""The wire: what is a business text, and why other bytes are none."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.housing import event
from textkeep.archive.text import content_of, read_event
from textkeep.ingest.wire import MAX_BODY_BYTES, MAX_NESTING, MAX_RECORD_BYTES, Parsed, Rejected, parse

SECRET = "SECRET-VALUE-0001"


def raw(record: object) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode()


def rejected(written: bytes) -> Rejected:
    found = parse(written)
    assert isinstance(found, Rejected)
    return found


def without(record: dict[str, Any], path: str) -> dict[str, Any]:
    if path.startswith("data."):
        data = {name: value for name, value in record["data"].items() if name != path.removeprefix("data.")}
        return {**record, "data": data}
    return {name: value for name, value in record.items() if name != path}


def replaced(record: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    if path.startswith("data."):
        return {**record, "data": {**record["data"], path.removeprefix("data."): value}}
    return {**record, path: value}


REQUIRED = (
    *("specversion", "type", "id", "source", "data"),
    *(f"data.{name}" for name in ("org_id", "user_id", "direction", "channel", "from", "to", "body", "sent_at")),
    "data.disposition",
)
OPTIONAL = tuple(f"data.{name}" for name in ("reason", "decided_by", "campaign_id", "app_version"))


def test_a_record_of_the_documented_form_is_parsed() -> None:
    found = parse(raw(event(7, body="Ça va? 👍🏽")))
    assert isinstance(found, Parsed)
    assert (found.event.id, found.event.data.body) == ("txt-0000000007", "Ça va? 👍🏽")
    assert found.sent_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert (found.group, found.international) == (False, False)


@pytest.mark.parametrize("path", REQUIRED)
def test_a_missing_member_is_named(path: str) -> None:
    found = rejected(raw(without(event(), path)))
    assert (found.reason, found.field) == ("malformed", path)


@pytest.mark.parametrize("path", REQUIRED + OPTIONAL)
@pytest.mark.parametrize("value", [5, True, [5], {SECRET: SECRET}], ids=repr)
def test_a_wrong_member_is_named_and_its_value_is_not(path: str, value: object) -> None:
    found = rejected(raw(replaced(event(), path, value)))
    assert found.reason == "malformed"
    assert found.field is not None
    assert path == found.field or (path == "data" and found.field == "data.org_id")
    assert SECRET not in found.what


@pytest.mark.parametrize("path", OPTIONAL)
def test_an_optional_member_may_be_left_out_or_null(path: str) -> None:
    assert isinstance(parse(raw(replaced(event(), path, None))), Parsed)
    assert isinstance(parse(raw(replaced(event(), path, "x"))), Parsed)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("specversion", "0.3"), ("type", "com.example"), ("id", ""), ("source", ""), ("data", None)),
        *(("data.org_id", ""), ("data.user_id", ""), ("data.direction", "sideways"), ("data.disposition", "lost")),
        *(("data.from", "2125550100"), ("data.to", "+1212555010"), ("data.to", "AMAZON"), ("data.to", [])),
        *(("data.from", ["+12125550100", "x"]), ("data.to", ["+12125550100", 5]), ("data.body", None)),
        *(("data.sent_at", "2026-11-20T10:00:00"), ("data.sent_at", "20 November"), ("data.sent_at", "2026-11-20")),
        *(("data.sent_at", "0001-01-01T00:00:00+14:00"), ("data.sent_at", "9999-12-31T23:59:59-14:00")),
        *(("data.sent_at", 1_700_000_000), ("data.sent_at", "2026-11-20T10:00:61Z")),
    ],
)
def test_a_wrong_value_is_malformed(path: str, value: object) -> None:
    found = rejected(raw(replaced(event(), path, value)))
    assert (found.reason, found.field) == ("malformed", path)


@pytest.mark.parametrize(
    "written",
    [
        *(b"", b" ", b"{", b"\xff", b"\xef\xbb\xbf{}", b"NaN", b"{'id': 1}", b'{"id": "\\ud800"}', b'{"id": "\\q"}'),
        *(b'{"id": 1e999}', b'{"id": ' + b"9" * 5000 + b"}", raw(event())[:100], raw(event()) + b"x"),
    ],
)
def test_bytes_that_do_not_parse_are_unreadable(written: bytes) -> None:
    assert rejected(written).reason == "unreadable"


@pytest.mark.parametrize("written", [b"null", b"5", b'"x"', b"[]", b"{}", b'{"data": []}', b'{"id": "a", "data": 5}'])
def test_json_that_is_no_event_is_malformed(written: bytes) -> None:
    assert rejected(written).reason == "malformed"


@pytest.mark.parametrize("hidden", [b'"\xff"', b'"\\ud800"', b"9" * 5000, b"1e999"])
def test_an_unknown_member_that_another_reader_could_not_read_is_found(hidden: bytes) -> None:
    assert rejected(raw(event())[:-1] + b', "x": ' + hidden + b"}").reason == "unreadable"


def test_what_could_be_read_of_a_rejected_record_is_told() -> None:
    found = rejected(raw(without(event(3), "data.from")))
    assert (found.id, found.source, found.org_id) == ("txt-0000000003", "/messaging/org-001", "org-001")
    assert found.sent_at == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_a_body_of_64_kib_is_taken_and_one_byte_more_is_too_long() -> None:
    assert isinstance(parse(raw(event(body="x" * MAX_BODY_BYTES))), Parsed)
    found = rejected(raw(event(body="x" * (MAX_BODY_BYTES + 1))))
    assert (found.reason, found.field) == ("too-long", "data.body")
    assert rejected(raw(event(body="é" * (MAX_BODY_BYTES // 2) + "x"))).reason == "too-long"
    assert isinstance(parse(raw(event(body="é" * (MAX_BODY_BYTES // 2)))), Parsed)


def test_a_record_over_the_limit_is_too_long_and_still_says_whose_it_is() -> None:
    found = rejected(raw({**event(), "x": "y" * MAX_RECORD_BYTES}))
    assert (found.reason, found.org_id, found.id) == ("too-long", "org-001", "txt-0000000001")
    assert rejected(b"[" * (MAX_RECORD_BYTES + 1)).reason == "too-long"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"x":', b"}")])
def test_nesting_is_bounded(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> bytes:
        return raw(event())[:-1] + b', "x": ' + opening * depth + b"1" + closing * depth + b"}"

    assert isinstance(parse(nested(MAX_NESTING - 1)), Parsed)
    for depth in (MAX_NESTING, 500, 20_000):
        assert rejected(nested(depth)).reason == "malformed"


def test_brackets_in_a_body_are_no_nesting() -> None:
    assert isinstance(parse(raw(event(body="[{" * 200))), Parsed)


@pytest.mark.parametrize("side", ["from", "to"])
def test_a_list_of_numbers_is_a_group(side: str) -> None:
    found = parse(raw(event(1, **{side: ["+12125550100", "+12125550199"]})))
    assert isinstance(found, Parsed)
    assert found.group


@pytest.mark.parametrize("side", ["from", "to"])
def test_a_number_abroad_makes_it_international(side: str) -> None:
    found = parse(raw(event(1, **{side: "+18765550123"})))
    assert isinstance(found, Parsed)
    assert found.international


@pytest.mark.parametrize("channel", ["mms", "MMS", "whatsapp", ""])
def test_another_channel_is_still_a_record_of_the_documented_form(channel: str) -> None:
    assert isinstance(parse(raw(event(channel=channel))), Parsed)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-20T05:00:00-05:00", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00.123Z", datetime(2026, 11, 20, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-11-20t10:00:00z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ],
)
def test_the_moment_comes_out_in_utc(written: str, moment: datetime) -> None:
    found = parse(raw(event(sent_at=written)))
    assert found.sent_at == moment
    assert found.sent_at is not None
    assert found.sent_at.tzinfo is UTC


def test_the_examples_of_the_specification_are_no_texts_and_break_nothing(shared: Path) -> None:
    examples = json.loads((shared / "data" / "cloudevents" / "json-format-examples.json").read_bytes())
    found = [parse(raw(example)) for example in (examples if isinstance(examples, list) else examples.values())]
    assert found
    assert all(isinstance(each, Rejected) and each.reason == "malformed" for each in found)


def test_hostile_strings_are_bodies_like_any_other_and_break_nothing_elsewhere(shared: Path) -> None:
    hostile = json.loads((shared / "data" / "naughty" / "blns.json").read_bytes())
    assert len(hostile) > 500
    for string in hostile:
        found = parse(raw(event(body=string)))
        assert isinstance(found, Parsed)
        assert found.event.data.body == string
        for path in REQUIRED:
            assert isinstance(parse(raw(replaced(event(), path, string))), Parsed | Rejected)


Mutation = Callable[[bytes], bytes]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def mutate(written: bytes, at: int, how: int, new: bytes) -> bytes:
    at %= len(written)
    return written[:at] + new + written[at + how :]


@given(st.integers(0, 2000), st.integers(0, 30), st.binary(max_size=6))
@settings(max_examples=1000)
def test_mutated_bytes_are_parsed_or_rejected_and_what_is_parsed_every_reader_can_read(
    at: int, how: int, new: bytes
) -> None:
    written = mutate(raw(event(body="Ça va? 👍🏽")), at, how, new)
    found = parse(written)
    if isinstance(found, Parsed):
        assert read_event(written) == found.event
        assert content_of(written)


@given(st.sampled_from(REQUIRED + OPTIONAL + ("data.unknown", "unknown")), JSON)
@settings(max_examples=500)
def test_whatever_a_member_holds_it_is_parsed_or_rejected(path: str, value: object) -> None:
    found = parse(json.dumps(replaced(event(), path, value)).encode())
    if isinstance(found, Rejected):
        assert found.reason in ("unreadable", "malformed")
