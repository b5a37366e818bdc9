"""The made-up business of three organisations over 398 days. Pure: the same last day gives the same feed.

Every number lies in 555-0100 to 555-0199, the range that is reserved for fiction.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from textkeep.archive.text import EVENT_TYPE
from textkeep.service.demo_words import DAYS, EXCHANGES, NAMES, STAFF, Exchange, Language

SEED: Final = 400
DAYS_OF_DEMO: Final = 398
EXCHANGES_A_DAY: Final = 9
"""Exchanges a day, of one to three texts each."""

USERS: Final = 8
PEERS: Final = 60
"""Invented customers of each organisation."""

OPENS: Final = 13 * 3600
CLOSES: Final = 21 * 3600
"""Between which seconds of the UTC day exchanges begin; the last answers come two hours later, the same day."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Firm:
    """An invented organisation."""

    org: str
    company: str
    country: str
    languages: tuple[Language, ...]
    own_codes: tuple[str, ...]
    peer_codes: tuple[str, ...]


FIRMS: Final = (
    Firm("org-001", "Lakeside Dental", "US", ("en",), ("312", "773"), ("312", "847", "630")),
    Firm("org-002", "Atelier Boréal", "CA", ("fr", "fr", "en"), ("514", "438"), ("514", "418", "819")),
    Firm("org-003", "Puente Home Services", "US", ("es", "es", "en"), ("305", "786"), ("305", "954", "561")),
)


def directory() -> Iterator[Json]:
    """The directory records of the three organisations: each with one location and its users."""
    for firm in FIRMS:
        location = f"{firm.org}-loc-1"
        yield {
            "kind": "org",
            "org_id": firm.org,
            "customer_type": "enterprise",
            "calling_plan": firm.country,
            "add_on": True,
            "campaign_registered": True,
            "healthcare": False,
        }
        yield {
            "kind": "location",
            "org_id": firm.org,
            "location_id": location,
            "country": firm.country,
            "pstn": "cisco",
            "texting": True,
        }
        for user in range(1, USERS + 1):
            yield {
                "kind": "user",
                "org_id": firm.org,
                "user_id": _user(firm, user),
                "location_id": location,
                "number": _own_number(firm, user),
                "texting": "default",
                "app_version": "44.6",
            }


def lines(until: date) -> Iterator[bytes]:
    """The feed that ends with the day `until`, one CloudEvent a line, in the order the texts were sent."""
    number = 0
    for offset in range(DAYS_OF_DEMO):
        day = until - timedelta(days=DAYS_OF_DEMO - 1 - offset)
        for sent_at, firm, data in sorted(_texts_of(day), key=lambda text: text[0]):
            number += 1
            moment = sent_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            event = {
                "specversion": "1.0",
                "type": EVENT_TYPE,
                "id": f"demo-{number:06d}",
                "source": f"/demo/{firm.org}",
                "time": moment,
                "datacontenttype": "application/json",
                "data": {"org_id": firm.org, **data, "sent_at": moment},
            }
            yield json.dumps(event, ensure_ascii=False).encode("utf-8")


def _texts_of(day: date) -> Iterator[tuple[datetime, Firm, Json]]:
    seed = hashlib.sha256(f"{SEED}:{day.isoformat()}".encode()).digest()
    chance = random.Random(seed)  # noqa: S311  made-up texts, nothing secret
    midnight = datetime.combine(day, time(), UTC)
    for _ in range(EXCHANGES_A_DAY):
        firm = chance.choice(FIRMS)
        start = midnight + timedelta(milliseconds=chance.randrange(OPENS * 1000, CLOSES * 1000))
        yield from _exchange(chance, firm, start)


def _exchange(chance: random.Random, firm: Firm, start: datetime) -> Iterator[tuple[datetime, Firm, Json]]:
    language = chance.choice(firm.languages)
    exchange = chance.choice(EXCHANGES[language])
    words = _words(chance, firm, language)
    user, peer = chance.randrange(1, USERS + 1), chance.randrange(PEERS)
    said = [(True, exchange.sent), *_answers(chance, exchange)]
    moment = start
    for outbound, template in said:
        own, other = _own_number(firm, user), _peer_number(firm, peer)
        data: Json = {
            "user_id": _user(firm, user),
            "direction": "outbound" if outbound else "inbound",
            "channel": "sms",
            "from": own if outbound else other,
            "to": other if outbound else own,
            "body": template.format(**words),
            **_disposition(chance, outbound=outbound),
        }
        yield moment, firm, data
        moment += timedelta(milliseconds=chance.randrange(20_000, 3_600_000))


def _answers(chance: random.Random, exchange: Exchange) -> list[tuple[bool, str]]:
    if not exchange.answers or chance.random() < 0.3:
        return []
    answered = [(False, chance.choice(exchange.answers))]
    return [*answered, (True, exchange.closing)] if exchange.closing else answered


def _words(chance: random.Random, firm: Firm, language: Language) -> dict[str, str]:
    hour = chance.randrange(8, 18)
    clock = f"{hour % 12 or 12}:{chance.choice(('00', '15', '30', '45'))} {'am' if hour < 12 else 'pm'}"
    return {
        "name": chance.choice(NAMES[language]),
        "staff": chance.choice(STAFF),
        "company": firm.company,
        "day": chance.choice(DAYS[language]),
        "hour": clock if language == "en" else f"{hour} h",
        "ref": f"{chance.choice('ABCDEFGH')}-{chance.randrange(10_000, 99_999)}",
        "amount": f"{chance.randrange(20, 900)}.{chance.randrange(100):02d}",
        "code": f"{chance.randrange(100_000, 999_999)}",
    }


def _disposition(chance: random.Random, *, outbound: bool) -> Json:
    roll = chance.random()
    if not outbound or roll < 0.96:
        return {"disposition": "delivered"}
    if roll < 0.98:
        return {"disposition": "failed"}
    return {"disposition": "blocked", "reason": chance.choice(("spam", "content", "volume")), "decided_by": "carrier"}


def _user(firm: Firm, user: int) -> str:
    return f"{firm.org}-user-{user:02d}"


def _own_number(firm: Firm, user: int) -> str:
    return f"+1{firm.own_codes[user % len(firm.own_codes)]}555{100 + user:04d}"


def _peer_number(firm: Firm, peer: int) -> str:
    return f"+1{firm.peer_codes[peer % len(firm.peer_codes)]}555{120 + peer:04d}"
