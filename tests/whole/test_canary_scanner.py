"""The scanner of canaries finds what it must, wherever it lies: else finding nothing would mean nothing."""

import base64
import json
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.whole.canaries import (
    EXCHANGE,
    FOREIGN,
    MARK,
    NUMBERS,
    QUOTED,
    body,
    message_id,
    phone,
    scan,
    scan_process,
    sightings,
    user_id,
    word,
)

Spell = Callable[[bytes], bytes]

SPELLINGS: dict[str, Spell] = {
    "utf-8": lambda raw: raw,
    "utf-16-le": lambda raw: raw.decode().encode("utf-16-le"),
    "utf-16-be": lambda raw: raw.decode().encode("utf-16-be"),
    "hex": lambda raw: raw.hex().encode(),
    "HEX": lambda raw: raw.hex().upper().encode(),
    "base64, first alignment": base64.b64encode,
    "base64, second alignment": lambda raw: base64.b64encode(b"a" + raw),
    "base64, third alignment": lambda raw: base64.b64encode(b"ab" + raw),
    "base64url, second alignment": lambda raw: base64.urlsafe_b64encode(b"\xff" + raw + b"\xff"),
    "JSON": lambda raw: json.dumps(raw.decode()).encode(),
    "JSON in UTF-8": lambda raw: json.dumps(raw.decode(), ensure_ascii=False).encode(),
    "JSON in a JSON string's hex escapes": lambda raw: "".join(f"\\u{ord(each):04x}" for each in raw.decode()).encode(),
    "a URL": lambda raw: quote(raw.decode(), safe="").encode(),
    "a traceback": lambda raw: repr(raw).encode(),
}

KINDS: dict[str, Callable[[int], str]] = {
    "word": word,
    "body": body,
    "user id": user_id,
    "message id": message_id,
    "number": phone,
    "number without a plus": lambda number: phone(number)[1:],
    "national number": lambda number: phone(number)[2:],
    "foreign mark": lambda number: f"{FOREIGN}{number}",
    "quoted mark": lambda number: f"{QUOTED}{number}",
}


def test_every_canary_is_of_16_bytes_or_more_but_for_numbers_which_cannot_be() -> None:
    assert min(len(canary.encode()) for canary in (MARK, FOREIGN, QUOTED)) >= 16
    for kind in (word, body, user_id, message_id, phone):
        assert len({kind(number) for number in range(NUMBERS)}) == NUMBERS
    assert all(EXCHANGE in phone(number) for number in range(NUMBERS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_canary_is_found_in_every_spelling_amid_ciphertext(kind: str, spelling: str) -> None:
    chance = random.Random(f"{kind}{spelling}")
    for _ in range(20):
        canary = SPELLINGS[spelling](KINDS[kind](chance.randrange(NUMBERS)).encode())
        at = chance.randrange(300)
        content = chance.randbytes(at) + b"\0" + canary + b"\0" + chance.randbytes(300 - at)
        assert list(sightings(content)), canary


def test_nothing_is_found_in_ciphertext_digests_and_times() -> None:
    chance = random.Random(16)
    content = chance.randbytes(3_000_000) + b"\n"
    content += b"\n".join(chance.randbytes(32).hex().encode() for _ in range(10_000))
    content += b"\n".join(b"%d" % (1_700_000_000_000_000 + chance.randrange(10**15)) for _ in range(10_000))
    assert list(sightings(content)) == []


def test_a_readable_database_its_log_and_its_index_are_found_out(tmp_path: Path) -> None:
    """What a plain archive would leave: rows, a full-text index, and what was deleted in the write-ahead log."""
    with closing(sqlite3.connect(tmp_path / "plain.db", isolation_level=None)) as plain:
        plain.execute("PRAGMA journal_mode=WAL")
        plain.execute("CREATE VIRTUAL TABLE found USING fts5(body, content='', detail=none)")
        plain.executemany("INSERT INTO found (rowid, body) VALUES (?, ?)", [(n, word(n)) for n in range(1, 100)])
        assert {Path(each.file).name for each in scan(tmp_path)} == {"plain.db-wal"}
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert len(scan(tmp_path)) >= 99
        plain.execute("DROP TABLE found")
        assert {Path(each.file).name for each in scan(tmp_path)} >= {"plain.db"}


def test_names_of_files_and_files_without_a_name_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / f"for-{MARK}").touch()
    assert [sighting.kind for sighting in scan(tmp_path)] == ["text"]
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux shows the open files of a process")
    assert scan_process(os.getpid()) == []
    with tempfile.TemporaryFile(dir=tmp_path) as nameless:
        nameless.write(phone(7).encode())
        nameless.flush()
        assert [sighting.kind for sighting in scan_process(os.getpid())] == ["number"]
