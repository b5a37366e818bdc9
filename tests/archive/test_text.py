"""The record's content, its commitment and its public name."""

import hashlib
import json
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.housing import event
from textkeep.archive.text import TextId, commitment, content_of, only_disposition_differs, read_event

NAMES = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
DATA = st.dictionaries(NAMES, VALUES, max_size=4)


def raw(data: Any, **attributes: Any) -> bytes:
    return json.dumps({"type": "t", "source": "/s", "id": "1", "data": data, **attributes}).encode()


def with_member(written: str) -> bytes:
    """A record whose `data` has one member, written exactly so."""
    return raw({}).replace(b'"data": {}', b'"data": {%s}' % written.encode())


@given(DATA, st.data())
def test_order_space_and_escapes_make_no_difference(data: dict[str, Any], draw: st.DataObject) -> None:
    record = {"type": "t", "source": "/s", "id": "1", "data": dict(draw.draw(st.permutations(list(data.items()))))}
    shuffled = dict(draw.draw(st.permutations(list(record.items()))))
    for how in ({"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}):
        assert content_of(json.dumps(shuffled, **how).encode()) == content_of(raw(data))


@given(DATA, DATA)
def test_other_data_is_other_content(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (content_of(raw(one)) == content_of(raw(other))) == same


@given(DATA)
def test_transport_attributes_are_no_content(data: dict[str, Any]) -> None:
    sent_again = raw(data, time="2026-11-22T00:00:00Z", sequence="7", traceparent="00-1", specversion="1.0")
    assert content_of(sent_again) == content_of(raw(data))


@pytest.mark.parametrize("name", ["type", "source", "id"])
def test_type_source_and_id_are_content(name: str) -> None:
    assert content_of(raw({}, **{name: "another"})) != content_of(raw({}))


def test_content_is_canonical_json() -> None:
    assert content_of(raw({"b": "é", "a": [1.0, 1e21, 0.5]})) == (
        '{"data":{"a":[1,1e+21,0.5],"b":"é"},"id":"1","source":"/s","type":"t"}'.encode()
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"n": 9007199254740993', '"n": 9007199254740992'),
        ('"n": 9007199254740993.0', '"n": 9007199254740992.0'),
        ('"n": 0.1', '"n": 0.10000000000000000001'),
        ('"n": 1e400', '"n": 1e401'),
        ('"n": 1e-400', '"n": 0.0'),
        ('"n": 1e-99999999999999999999', '"n": 0.0'),
        ('"n": 1e99999999999999999999', '"n": 1e99999999999999999998'),
        ('"n": NaN', '"n": null'),
        ('"body": "\\ud800"', '"body": "\\ud801"'),
        ('"\\ud800": 1', '"\\ud801": 1'),
        ('"body": "hidden", "body": "shown"', '"body": "shown"'),
        ('"x": {"a": 1, "a": 2}', '"x": {"a": 2}'),
        ('"n": ' + "1" * 5000, '"n": ' + "1" * 4999 + "2"),
        ('"x": ' + "[" * 50_000 + "]" * 50_000, '"x": ' + "[" * 49_999 + "]" * 49_999),
    ],
)
def test_what_canonical_json_cannot_carry_never_looks_like_something_else(one: str, other: str) -> None:
    assert content_of(with_member(one)) != content_of(with_member(other))
    assert content_of(with_member(one)) == content_of(with_member(one))


def test_a_member_named_twice_outside_the_data_is_told_apart_too() -> None:
    plain = raw({"body": "shown"})
    assert content_of(plain[:-1] + b', "data": {"body": "shown"}}') != content_of(plain)


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | VALUES.map(lambda v: json.dumps(v).encode())
)
def test_anything_has_content_and_no_two_things_by_accident(anything: bytes) -> None:
    assert content_of(anything) == content_of(anything)
    assert content_of(anything) != content_of(raw({}))
    assert content_of(anything + b" ") != content_of(anything)


def test_only_disposition_and_reason_make_an_update() -> None:
    first = json.dumps(event(1, disposition="sent")).encode()
    assert only_disposition_differs(first, json.dumps(event(1, disposition="failed", reason="x")).encode())
    assert only_disposition_differs(first, first)
    for other in (event(1, body="x"), event(1, disposition="failed", to="+13125550199"), event(2), event(1, extra=1)):
        assert not only_disposition_differs(first, json.dumps(other).encode())


def test_what_cannot_be_compared_is_no_update() -> None:
    record = json.dumps(event(1, disposition="sent")).encode()
    odd = record[:-2] + b', "n": 1e400}}'
    assert not only_disposition_differs(record, odd)
    assert not only_disposition_differs(odd, odd.replace(b"sent", b"failed"))


def test_the_commitment_is_the_documented_digest() -> None:
    salt, written = bytes(range(32)), b"exact bytes"
    assert commitment(salt, written) == hashlib.sha256(b"textkeep-text-v1" + salt + written).digest()


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=50),
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=50),
)
def test_other_bytes_or_another_salt_have_another_commitment(one: bytes, a: bytes, other: bytes, b: bytes) -> None:
    assert (commitment(one, a) == commitment(other, b)) == ((one, a) == (other, b))


@given(st.dates(), st.binary(min_size=16, max_size=16), st.integers(1, 999_999_999))
def test_a_text_id_is_read_as_it_is_written(day: date, tag: bytes, version: int) -> None:
    text_id = TextId(day, tag, version)
    assert TextId.parse(str(text_id)) == text_id
    assert len(str(text_id)) == 8 + 1 + 32 + 1 + len(str(version))


GOOD = "20261122-00112233445566778899aabbccddeeff-1"


@given(st.data())
def test_a_text_id_with_any_character_changed_is_another_or_none(draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(GOOD)))
    written = GOOD[:at] + draw.draw(st.text(max_size=2)) + GOOD[at + draw.draw(st.integers(0, 2)) :]
    try:
        found = TextId.parse(written)
    except ValueError:
        assert written != GOOD
    else:
        assert str(found) == written


@given(st.text() | st.from_regex(r"\w{8}-\w{32}-\w{1,9}") | st.from_regex(r"[0-9]{8}-[0-9a-f]{32}-[0-9]{1,9}"))
def test_whatever_is_no_text_id_is_a_value_error_and_nothing_worse(written: str) -> None:
    try:
        found = TextId.parse(written)
    except ValueError:
        return
    assert str(found) == written
    assert found.version >= 1


@pytest.mark.parametrize(
    "written",
    [
        "",
        "--",
        GOOD.upper(),
        GOOD + " ",
        " " + GOOD,
        GOOD + "\n",
        GOOD[:-1] + "0",
        GOOD[:-1] + "01",
        GOOD[:-1] + "+1",
        GOOD[:-1] + "1_0",
        GOOD[:-1] + "１",
        GOOD[:-1] + "9" * 10,
        GOOD[:-1] + "-1",
        GOOD.replace("20261122", "20261131"),
        GOOD.replace("20261122", "2026-1-1"),
        GOOD.replace("20261122", " 2026112"),
        GOOD.replace("aabb", "aa b"),
        GOOD.replace("aabb", "xxyy"),
        GOOD.replace("-", "/"),
        "\ud800" * 8 + GOOD[8:],
        "../../../etc/passwd",
    ],
)
def test_hostile_text_ids_are_refused(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of the words are Python's
        TextId.parse(written)


def test_text_ids_sort_by_day_first() -> None:
    late, early = TextId(date(2026, 11, 22), bytes(16), 1), TextId(date(2026, 11, 21), b"\xff" * 16, 9)
    assert sorted([late, early]) == [early, late]


@pytest.mark.parametrize(("direction", "own", "peer"), [("outbound", "+1A", "+1B"), ("inbound", "+1B", "+1A")])
def test_the_own_number_is_that_of_the_organisation_s_user(direction: str, own: str, peer: str) -> None:
    record = event(1, direction=direction, to="+1B") | {}
    record["data"]["from"] = "+1A"
    text = read_event(json.dumps(record).encode()).data
    assert (text.own_number, text.peer_number) == (own, peer)


@pytest.mark.parametrize("name", ["org_id", "user_id", "direction", "from", "to", "body", "sent_at", "disposition"])
def test_a_record_without_a_member_that_is_needed_is_none(name: str) -> None:
    record = event(1)
    del record["data"][name]
    with pytest.raises(msgspec.DecodeError):
        read_event(json.dumps(record).encode())
