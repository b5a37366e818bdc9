"""The three doors' forms: which bytes are one record, and what is not a batch at all."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textkeep.errors import Malformed, TooLarge
from textkeep.ingest.splitting import MAX_COMMAS, MAX_RECORDS, MAX_REQUEST_BYTES, split, unpack


def test_one_event_is_the_whole_body_whatever_it_holds() -> None:
    assert split("event", b' {"id": "1"}\n') == [b' {"id": "1"}\n']
    assert split("event", b"not JSON") == [b"not JSON"]


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_no_event_at_all_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        split("event", body)


def test_a_batch_gives_the_exact_bytes_of_each_element() -> None:
    body = b' [ {"id" : 1.0} ,\n "x", {"b":[1, 2]}, null ] '
    assert split("batch", body) == [b'{"id" : 1.0}', b'"x"', b'{"b":[1, 2]}', b"null"]
    assert split("batch", b"[]") == []


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[{}", b"[{}]x", b"[{},]", b"[" * 100_000, b"\xff"])
def test_what_is_no_array_is_not_a_batch_at_all(body: bytes) -> None:
    with pytest.raises(Malformed):
        split("batch", body)


def test_a_stream_gives_its_lines() -> None:
    body = b'\xef\xbb\xbf{"id": 1}\r\n\n  \t\r\nnot JSON\n {"id": 2} \n{"id": 3}'
    assert split("stream", body) == [b'{"id": 1}', b"not JSON", b' {"id": 2} ', b'{"id": 3}']
    assert split("stream", b"\n\n") == []


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=3), max_size=8))
def test_stream_and_batch_give_the_same_records(records: list[dict[str, object]]) -> None:
    lines = [json.dumps(record).encode() for record in records]
    assert split("stream", b"\n".join(lines)) == split("batch", b"[" + b", ".join(lines) + b"]") == lines


def test_a_request_has_a_bounded_number_of_records() -> None:
    assert len(split("stream", b"{}\n" * MAX_RECORDS)) == MAX_RECORDS
    for form, body in (("stream", b"{}\n" * (MAX_RECORDS + 1)), ("batch", b"[" + b"1," * MAX_RECORDS + b"1]")):
        with pytest.raises(TooLarge):
            split(form, body)  # type: ignore[arg-type]  # each is a Form
    with pytest.raises(TooLarge):
        split("batch", b"[" + b"1," * (MAX_COMMAS + 1) + b"1]")


def test_blank_lines_are_skipped_however_many() -> None:
    assert split("stream", b"\n" * 1_000_000 + b" \n" * 1_000_000 + b"{}") == [b"{}"]


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_what_was_packed_is_unpacked_also_in_several_members(parts: list[bytes]) -> None:
    assert unpack(b"".join(gzip.compress(part) for part in parts)) == b"".join(parts)


@pytest.mark.parametrize(
    "packed",
    [b"x", gzip.compress(b"hello")[:-1], gzip.compress(b"hello")[:-8] + bytes(8), gzip.compress(b"a") + b"x"],
    ids=["no gzip", "cut off", "wrong check", "something behind"],
)
def test_what_does_not_unpack_is_refused_whole(packed: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(packed)


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    squeezer = zlib.compressobj(wbits=31)
    bomb = b"".join(squeezer.compress(bytes(MAX_REQUEST_BYTES)) for _ in range(20)) + squeezer.flush()
    assert len(bomb) < 400_000
    with pytest.raises(TooLarge):
        unpack(bomb)
    assert len(unpack(gzip.compress(bytes(MAX_REQUEST_BYTES)))) == MAX_REQUEST_BYTES
    with pytest.raises(TooLarge):
        unpack(gzip.compress(bytes(MAX_REQUEST_BYTES)) + gzip.compress(b"x"))
