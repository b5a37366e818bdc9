"""From messages to records: each becomes exact bytes, or something that says why it is none; nothing is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.housing import event
from textkeep.archive.text import content_of
from textkeep.ingest.kafka_records import Headers, records_of
from textkeep.ingest.splitting import MAX_RECORDS
from textkeep.ingest.wire import Arrived, Parsed, parse

VALUE = json.dumps(event(1)).encode()
DATA = json.dumps(event(1)["data"]).encode()
AT: dict[str, str | int] = {"topic": "t", "partition": 3, "offset": 77}


def arrived(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = None) -> list[Arrived]:
    return list(records_of("t", 3, 77, value, list(headers) or None, key))


def attributes(record: dict[str, Any] | None = None) -> list[tuple[str, bytes | None]]:
    """The headers of an event in binary mode."""
    record = record or event(1)
    wanted = {name: value for name, value in record.items() if name not in ("data", "datacontenttype")}
    named: list[tuple[str, bytes | None]] = [(f"ce_{name}", str(value).encode()) for name, value in wanted.items()]
    return [*named, ("content-type", b"application/json")]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("content-type", b"application/cloudevents+json")],
        [("Content-Type", b"application/cloudevents+json; charset=UTF-8")],
        [("traceparent", b"\xff")],
    ],
)
def test_a_structured_record_is_stored_as_the_exact_bytes_that_came(headers: list[tuple[str, bytes | None]]) -> None:
    assert arrived(VALUE, *headers) == [Arrived(VALUE, AT)]


def test_a_binary_record_is_composed_of_its_headers_and_the_exact_bytes_of_its_value() -> None:
    data = b' {"body": "caf\\u00e9",  "n": 1.50}\n'
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", 'ä"1'.encode()),
        ("other", b"x"),
        ("content-type", b"application/json"),
    ]
    (record,) = arrived(data, *headers)
    assert record.raw == (
        b'{"specversion":"1.0","id":"\xc3\xa4\\"1","datacontenttype":"application/json","data":' + data + b"}"
    )
    assert record.fault is None


def test_a_text_has_the_same_content_in_either_mode() -> None:
    (binary,) = arrived(DATA, *attributes())
    assert isinstance(parse(binary.raw), Parsed)
    assert content_of(binary.raw) == content_of(VALUE)


def test_a_binary_record_without_an_attribute_is_malformed_like_a_structured_one() -> None:
    (record,) = arrived(DATA, *(header for header in attributes() if header[0] != "ce_id"))
    found = parse(record.raw)
    assert (getattr(found, "reason", None), getattr(found, "field", None)) == ("malformed", "id")


def test_each_element_of_a_batch_is_a_record_and_knows_its_place() -> None:
    first, second = json.dumps(event(1)).encode(), b'{"any": [1,  2]}'
    batch = b"[" + first + b", " + second + b"]"
    found = arrived(batch, ("content-type", b"application/cloudevents-batch+json"))
    assert [each.raw for each in found] == [first, second]
    assert [each.origin for each in found] == [{**AT, "element": 0}, {**AT, "element": 1}]
    assert arrived(b"[]", ("content-type", b"application/cloudevents-batch+json")) == []


BATCH = ("content-type", b"application/cloudevents-batch+json")


@pytest.mark.parametrize(
    ("value", "headers", "reason", "field"),
    [
        pytest.param(None, [], "unreadable", None, id="no value"),
        pytest.param(None, attributes(), "unreadable", None, id="no value, in binary mode"),
        pytest.param(
            VALUE, [("content-type", b"text/plain")], "unreadable", "content-type", id="no content type of ours"
        ),
        pytest.param(VALUE, [("content-type", b"application/json")], "unreadable", "content-type", id="plain JSON"),
        pytest.param(VALUE, [("content-type", None)], "unreadable", "content-type", id="a content type without value"),
        pytest.param(
            VALUE,
            [("content-type", b"application/cloudevents+json; charset=utf-16")],
            "unreadable",
            "content-type",
            id="another charset",
        ),
        pytest.param(
            VALUE,
            [("content-type", b"application/cloudevents+json"), ("Content-Type", b"text/plain")],
            "malformed",
            "content-type",
            id="two content types",
        ),
        pytest.param(VALUE, [BATCH], "unreadable", None, id="a batch that is no array"),
        pytest.param(b"[" + b"0," * MAX_RECORDS + b"0]", [BATCH], "too-long", None, id="a batch of too many"),
        pytest.param(
            DATA, [("ce_id", b"\xff\xfe"), *attributes()[3:]], "unreadable", "id", id="a header that is no text"
        ),
        pytest.param(DATA, [*attributes(), ("ce_id", b"2")], "malformed", "id", id="a header twice"),
        pytest.param(DATA, [*attributes(), ("CE_ID", b"2")], "malformed", "id", id="a header twice, in capitals"),
        pytest.param(DATA, [*attributes(), ("ce_data", b"{}")], "malformed", None, id="data as a header"),
        pytest.param(DATA, [*attributes(), ("ce_a b", b"1")], "malformed", None, id="no attribute's name"),
        pytest.param(
            DATA, [*attributes(), ("ce_datacontenttype", b"x")], "malformed", "datacontenttype", id="two data types"
        ),
        pytest.param(
            DATA,
            [*attributes()[:-1], ("content-type", b"application/xml")],
            "unreadable",
            "content-type",
            id="data that is no JSON by its type",
        ),
        pytest.param(b"{not JSON", attributes(), "unreadable", "data", id="data that is no JSON"),
        pytest.param(DATA + b',"id":"forged"', attributes(), "unreadable", "data", id="data that would add members"),
        pytest.param(b"[" * 100_000, attributes(), "unreadable", "data", id="data nested without end"),
    ],
)
def test_what_is_no_record_says_why(value: bytes | None, headers: Headers, reason: str, field: str | None) -> None:
    (record,) = arrived(value, *headers)
    assert record.fault is not None
    assert (record.fault.reason, record.fault.field, record.origin) == (reason, field, AT)


def test_what_is_set_aside_holds_everything_of_the_message() -> None:
    (record,) = arrived(b"\xff\x00", ("ce_id", b"\xfe"), ("ce_type", "ü".encode()), ("trace", None), key=b"k")
    assert json.loads(record.raw) == {
        "key": "k",
        "headers": [["ce_id", {"base64": "/g=="}], ["ce_type", "ü"], ["trace", None]],
        "value": {"base64": "/wA="},
    }


@given(
    value=st.none() | st.binary(max_size=60),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_specversion", "content-type", "CE_ID", "ce_", "x"]) | st.text(max_size=8),
            st.none() | st.binary(max_size=12) | st.sampled_from([BATCH[1], b"application/json"]),
        ),
        max_size=5,
    ),
)
def test_no_message_breaks_it_and_each_record_is_one_json_document_or_has_a_fault(
    value: bytes | None, headers: Headers
) -> None:
    for record in records_of("t", 0, 0, value, headers, None):
        assert record.origin is not None
        if any(name.lower().startswith("ce_") for name, _ in headers) and record.fault is None and value is not None:
            composed = value not in (record.raw, None) and record.raw.endswith(value + b"}")
            assert composed or any(content == BATCH[1] for _, content in headers)
