"""A produce request made by hand (protocol version 3): for messages that no client library would send."""

import socket
import struct
import time
from collections.abc import Sequence

_CASTAGNOLI = 0x82F63B78


def produce(address: str, topic: str, value: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Put one message into partition 0, its headers named by any bytes; it is there when this returns."""
    records = _batch(value, headers)
    name = struct.pack(">h", len(topic)) + topic.encode()
    body = struct.pack(">hhihhhii", 0, 3, 1, -1, -1, -1, 30_000, 1) + name
    body += struct.pack(">iii", 1, 0, len(records)) + records
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 30) as line:
        line.sendall(struct.pack(">i", len(body)) + body)
        with line.makefile("rb") as answers:
            (length,) = struct.unpack(">i", answers.read(4))
            answer = answers.read(length)
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + len(name) + 4 + 4)
    assert error == 0, f"the broker refused it: {error}"


def _batch(value: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A record batch of one record, as Kafka's documentation of its format (magic 2) has it."""
    now = int(time.time() * 1000)
    record = b"\0" + _varint(0) + _varint(0) + _varint(-1) + _sized(value) + _varint(len(headers))
    record += b"".join(_sized(name) + _sized(content) for name, content in headers)
    checked = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + _sized(record)
    behind = struct.pack(">ibI", -1, 2, _crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(behind)) + behind


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """A zigzag varint."""
    left, made = number << 1 if number >= 0 else ~(number << 1), bytearray()
    while left > 0x7F:
        made.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*made, left])


def _crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
