"""Canaries: strings that nothing but a leak writes anywhere, in every spelling a leak could have, and their scanner.

Every canary of 16 bytes or more holds one of three marks, so that looking for the marks alone finds each of them, whole
or cut off. A telephone number cannot hold one: all of them are of one exchange, and a finding of six digits is looked
at more closely where it might be chance.
"""

import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

MARK: Final = "kqzjcanaryvwxqpfm"
"""One word, of letters that index and vocabulary leave as they are."""

FOREIGN: Final = "señalкенарейка数据ñøû"
"""One with letters that JSON may escape, that take two and three bytes of UTF-8."""

QUOTED: Final = 'say "canary" \\ in/a\tcage'
"""One with characters that JSON must escape."""

EXCHANGE: Final = "206867"
"""Area code and exchange of every number; four digits follow."""

NUMBERS: Final = 1000

Patterns = dict[str, bytes]


def word(number: int) -> str:
    """A word that is a canary; it begins differently each time, so that no index shares its beginning."""
    head = "".join(chr(ord("a") + (number // 26**place) % 26) for place in range(3))
    return f"{head}{MARK}{number:04d}"


def body(number: int) -> str:
    """The body of a text: words that are canaries, among others, and now and then the other two marks."""
    more = (f" {FOREIGN}{number}", f" {QUOTED} {number}", "")[number % 3]
    return f"Dear {word(number)}, appointment {word(number)[::-1]}{MARK}{more}"


def user_id(number: int) -> str:
    """A user of the organisation."""
    return f"user-{number:04d}-{MARK}"


def message_id(number: int) -> str:
    """What the producer calls a text."""
    return f"{number:04d}:{MARK}:{number % 7}"


def phone(number: int) -> str:
    """The number of a user, E.164."""
    return f"+1{EXCHANGE}{number:04d}"


def spellings(mark: str) -> Patterns:
    """A mark in every spelling that is looked for, by the spelling's name."""
    raw = mark.encode()
    spelled: Patterns = {
        "UTF-8": raw,
        "upper case": mark.upper().encode(),
        "UTF-16 LE": mark.encode("utf-16-le"),
        "UTF-16 BE": mark.encode("utf-16-be"),
        "hex": raw.hex().encode(),
        "upper-case hex": raw.hex().upper().encode(),
        "JSON": json.dumps(mark).strip('"').encode(),
        "JSON, \\u upper case": _raised(json.dumps(mark).strip('"')).encode(),
        "JSON, UTF-8": json.dumps(mark, ensure_ascii=False).strip('"').encode(),
        "JSON, \\/": json.dumps(mark).strip('"').replace("/", "\\/").encode(),
        "JSON, every character": "".join(f"\\u{ord(each):04x}" for each in mark).encode(),
        "percent": quote(mark, safe="").encode(),
        "Python": repr(mark).strip("'").encode(),
        "Python bytes": repr(raw)[2:-1].encode(),
    }
    for offset in range(3):
        plain = _inside(raw, offset)
        spelled[f"base64 at {offset}"] = plain
        spelled[f"base64url at {offset}"] = plain.replace(b"+", b"-").replace(b"/", b"_")
    return _distinct(spelled)


def _raised(escaped: str) -> str:
    return re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), escaped)


def _inside(raw: bytes, offset: int) -> bytes:
    """What base64 makes of `raw` when it begins `offset` bytes into a group: the characters that are its own alone."""
    encoded = base64.b64encode(bytes(offset) + raw)
    return encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]


def _distinct(spelled: Patterns) -> Patterns:
    named: dict[bytes, str] = {}
    for name, pattern in spelled.items():
        named.setdefault(pattern, name)
    return {name: pattern for pattern, name in named.items()}


PATTERNS: Final[dict[str, Patterns]] = {
    "text": spellings(MARK),
    "foreign": spellings(FOREIGN),
    "quoted": spellings(QUOTED),
    "number": spellings(EXCHANGE),
}

_HEX: Final = b"0123456789abcdef"


@dataclass(frozen=True)
class Sighting:
    """Where a canary was seen, of which kind and in which spelling."""

    file: str
    offset: int
    kind: str
    spelling: str


def sightings(content: bytes, file: str = "") -> Iterator[Sighting]:
    """Every canary in some bytes."""
    for kind, patterns in PATTERNS.items():
        for spelling, pattern in patterns.items():
            at = content.find(pattern)
            while at >= 0:
                if kind != "number" or spelling != "UTF-8" or _is_number(content, at):
                    yield Sighting(file, at, kind, spelling)
                at = content.find(pattern, at + 1)


def _is_number(content: bytes, at: int) -> bool:
    """Whether six digits begin a number, and do not lie in a digest or a key that is written in hex."""
    number = content[at : at + 10]
    if len(number) < 10 or not number.isdigit() or int(number[6:]) >= NUMBERS:
        return False
    before, after = content[max(0, at - 1) : at], content[at + 10 : at + 11]
    if before == b"1":
        before = content[max(0, at - 2) : at - 1]
    return (not before or before not in _HEX) and (not after or after not in _HEX)


def scan(base: Path) -> list[Sighting]:
    """Every canary in the files below a folder, and in their names."""
    seen: list[Sighting] = []
    for path in sorted(base.rglob("*")):
        name = str(path.relative_to(base))
        seen += sightings(os.fsencode(name), f"the name {name}")
        if path.is_file():
            with suppress(FileNotFoundError):
                seen += sightings(path.read_bytes(), name)
    return seen


def scan_process(pid: int) -> list[Sighting]:
    """Every canary in the files that a process has open and that have no name any more."""
    seen: list[Sighting] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = str(link.readlink())
            if target.endswith(" (deleted)") and link.is_file():
                seen += sightings(link.read_bytes(), target)
    return seen
