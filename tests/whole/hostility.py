"""What a hostile source sends: mutated events, and requests that no client library would write."""

import json
import random
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

Mutation = Callable[[random.Random, bytes, bytes], bytes]
"""Makes a record out of two good ones."""

JUNK: Final[tuple[bytes, ...]] = (
    b"null", b"true", b"0", b"-1", b"1e400", b"-0.0", b"1" + b"0" * 400, b"9" * 5000, b"0.1e-999", b'""', b"[]", b"{}",
    b'[["+12125550199"],null]', b'"' + b"x" * 70_000 + b'"', b'"\\u0000"', b'"\\ud800"', b'"\\udfff\\ud800"', b"NaN",
    b'"0001-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59.999999999-23:59"', b'"2026-02-30T25:61:61Z"', b"Infinity",
    b'"2016-12-31T23:59:60Z"', b'"+1"', b'"\\u202e"', b'"../../etc/passwd"', b'"\xf0\x9f\x92\xa9"', b'{"a":{"b":[{}]}}',
)  # fmt: skip
"""JSON values, and what only looks like some, that take the place of a member's value."""

NOT_UTF8: Final = (
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xe2\x82",
    b"\x00",
    b"\x1b[2J",
)
DEPTHS: Final = (10, 31, 32, 33, 100, 1_000, 20_000)
STOPS: Final = b'{}[]",:\\'


def flip(chance: random.Random, one: bytes, _other: bytes) -> bytes:
    """A few bits the other way round."""
    made = bytearray(one)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 40))):
        made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    return bytes(made)


def cut(chance: random.Random, one: bytes, _: bytes) -> bytes:
    """Broken off somewhere."""
    return one[: chance.randrange(1, len(one))]


def splice(chance: random.Random, one: bytes, other: bytes) -> bytes:
    """The beginning of one and the end of another, with a piece said twice where they overlap."""
    return one[: chance.randrange(1, len(one))] + other[chance.randrange(len(other)) :]


def swap(chance: random.Random, one: bytes, _: bytes) -> bytes:
    """A member with a value of another kind."""
    event = json.loads(one)
    members = chance.choice((event, event["data"]))
    name = chance.choice(sorted(members))
    members[name] = "@@here@@"
    return json.dumps(event).encode().replace(b'"@@here@@"', chance.choice(JUNK))


def leave_out(chance: random.Random, one: bytes, _: bytes) -> bytes:
    """Without a member."""
    event = json.loads(one)
    members = chance.choice((event, event["data"]))
    del members[chance.choice(sorted(members))]
    return json.dumps(event).encode()


def deepen(chance: random.Random, one: bytes, _: bytes) -> bytes:
    """With a member that lies deep in itself, closed again or not."""
    depth = chance.choice(DEPTHS)
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opening * depth + b"1" + closing * (depth - chance.choice((0, 0, 1)))
    return chance.choice((one[:-1] + b',"deep":' + deep + b"}", one[:-2] + b',"deep":' + deep + b"}}"))


def repeat(chance: random.Random, one: bytes, other: bytes) -> bytes:
    """With a member named twice, in the envelope or in `data`, perhaps with another value."""
    said, again = json.loads(one), json.loads(other)
    name = chance.choice(sorted(said))
    inner = chance.choice(sorted(said["data"]))
    envelope = one[:-1] + b"," + _member(name, again[name]) + b"}"
    return chance.choice((envelope, one[:-2] + b"," + _member(inner, again["data"].get(inner, "")) + b"}}"))


def spoil(chance: random.Random, one: bytes, _: bytes) -> bytes:
    """With bytes that are no text, or that end one elsewhere, somewhere in it."""
    at = chance.randrange(len(one))
    return one[:at] + chance.choice(NOT_UTF8) * chance.choice((1, 1, 5)) + one[at:]


def halve(chance: random.Random, one: bytes, _: bytes) -> bytes:
    """With half of a surrogate pair, or a NUL, in a string or in a name."""
    half = chance.choice((b"\\ud83d", b"\\udca9", b"\\u0000", b"\\uD800\\u0041"))
    quotes = [at for at, byte in enumerate(one) if byte == ord('"')]
    at = chance.choice(quotes) + 1
    return one[:at] + half + one[at:]


def jumble(chance: random.Random, one: bytes, _other: bytes) -> bytes:
    """With what holds JSON together put elsewhere."""
    made = bytearray(one)
    for _ in range(chance.randrange(1, 5)):
        made.insert(chance.randrange(len(made)), chance.choice(STOPS))
    return bytes(made)


MUTATIONS: Final[tuple[Mutation, ...]] = (
    flip, cut, splice, swap, swap, leave_out, deepen, repeat, spoil, halve, jumble,
)  # fmt: skip


def mutants(events: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many records that went wrong, the same for the same seed; none is blank."""
    chance = random.Random(seed)
    for number in range(count):
        made = MUTATIONS[number % len(MUTATIONS)](chance, chance.choice(events), chance.choice(events))
        yield made if made.strip() else b"?"


def one_line(record: bytes) -> bytes:
    """A record as a line of a stream."""
    return record.replace(b"\n", b" ").replace(b"\r", b" ")


def raw_status(url: str, request: bytes) -> int | None:
    """The status of the answer to a request that is sent as it is; None where the server only hangs up.

    The request must be whole and ask for `Connection: close`; the server closes behind its answer.
    """
    where = urlsplit(url)
    assert where.hostname
    assert where.port
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(request)
        told = b""
        while part := connection.recv(65_536):
            told += part
    return int(told.split(b" ", 2)[1]) if told.startswith(b"HTTP/1.1 ") else None


def must_be_calm(answer: httpx.Response, sent: str = "") -> httpx.Response:
    """Hold an answer against what every one must be: no fault, and a refusal says why without repeating what came."""
    assert answer.status_code < 500, (answer.status_code, answer.text)
    if answer.status_code >= 400:
        told = answer.json()
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert told["status"] == answer.status_code
        assert len(sent) < 12 or sent not in f"{told['detail']} {told.get('field')}"
    return answer


def _member(name: str, value: Any) -> bytes:
    return json.dumps(name).encode() + b":" + json.dumps(value).encode()
