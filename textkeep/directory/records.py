"""Directory records: what is known of an organisation, a location, a user. Pure.

One JSON object a line in a directory feed, the same members in the API's bodies. A refusal names the member and says
in our own words what is wrong; it never repeats what was sent.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import ErrorDetails

from textkeep.directory.numbers import is_own
from textkeep.errors import Malformed

MAX_NAME: Final = 200
"""Characters in the name of an organisation, location or user."""

MAX_RECORD_BYTES: Final = 16 * 1024
"""Bytes in one directory record."""

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    org_id: Name
    since: AwareDatetime | None = None
    """When it began to be so, in UTC; without it, when it was recorded."""

    @field_validator("since")
    @classmethod
    def _in_utc(cls, since: datetime | None) -> datetime | None:
        try:
            return None if since is None else since.astimezone(UTC)
        except OverflowError:
            raise ValueError("outside the calendar") from None


class Org(_Record):
    """An organisation: what it bought, and what it is."""

    kind: Literal["org"] = "org"
    customer_type: Literal["enterprise", "online", "trial"]
    calling_plan: Literal["US", "CA"] | None
    add_on: bool
    campaign_registered: bool
    healthcare: bool
    acknowledged_by: Name | None = None

    KEY: ClassVar[str] = "org_id"


class Location(_Record):
    """A location of an organisation, and its switch for texting."""

    kind: Literal["location"] = "location"
    location_id: Name
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    pstn: Literal["cisco", "other"]
    texting: bool

    KEY: ClassVar[str] = "location_id"


class User(_Record):
    """A user: where, with which number, with which setting."""

    kind: Literal["user"] = "user"
    user_id: Name
    location_id: Name
    number: Annotated[str, Field(max_length=16)] | None
    texting: Literal["default", "on", "off"]
    app_version: Annotated[str, Field(min_length=1, max_length=64)]

    KEY: ClassVar[str] = "user_id"


Record = Org | Location | User

_adapter: TypeAdapter[Record] = TypeAdapter(
    Annotated[Record, Field(discriminator="kind")], config=ConfigDict(hide_input_in_errors=True)
)

_WORDS: Final[dict[str, str]] = {
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "string_unicode": "must be text that UTF-8 can carry",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
}
_MUST_BE: Final[dict[str, str]] = {
    "kind": "must be org, location or user",
    "customer_type": "must be enterprise, online or trial",
    "calling_plan": "must be US, CA or null",
    "country": "must be a country's two letters (ISO 3166), like US",
    "pstn": "must be cisco or other",
    "texting": "must be default, on or off for a user, true or false for a location",
    "since": "must be a moment with a zone (RFC 3339), like 2026-11-22T09:00:00Z",
    "number": "must be an E.164 number of the US or Canada, like +12125550100, or null",
}


def read_line(line: bytes) -> Record:
    """The record in one line of a directory feed. Raises Malformed with the member's name in `field`."""
    if len(line) > MAX_RECORD_BYTES:
        raise Malformed(f"a directory record has at most {MAX_RECORD_BYTES} bytes")
    return _read(line)


def read_body(body: Mapping[str, Any], kind: str, keys: Mapping[str, str]) -> Record:
    """The record in an API body, whose `kind` and keys stand in the path and may be repeated in the body.

    Raises Malformed with the member's name in `field`, also where body and path name different things.
    """
    named = {"kind": kind, **keys}
    for member, value in named.items():
        if body.get(member, value) != value:
            raise Malformed(f"{member} in the body is not the one in the path", field=member)
    try:
        written = json.dumps({**body, **named}).encode("ascii")
    except (RecursionError, ValueError):
        raise Malformed("a directory record is a JSON object without nested members") from None
    return _read(written)


def key_of(record: Record) -> str:
    """What tells a record from others of its kind in its organisation: the location's, the user's name."""
    return "" if isinstance(record, Org) else str(getattr(record, record.KEY))


def content_of(record: Record) -> dict[str, Any]:
    """What the record says, apart from since when: two records that agree in this change nothing."""
    return record.model_dump(mode="json", exclude={"since"})


def to_json(record: Record) -> bytes:
    """The record as it is sealed; `from_json` reads it."""
    return record.model_dump_json().encode()


def from_json(plain: bytes) -> Record:
    """The record that `to_json` wrote."""
    return _adapter.validate_json(plain)


def _read(written: bytes) -> Record:
    try:
        record = _adapter.validate_json(written)
    except ValidationError as error:
        raise _refusal(error) from None
    return _sound(record)


def _sound(record: Record) -> Record:
    if isinstance(record, Org) and record.healthcare and record.acknowledged_by is None:
        raise Malformed(
            "texting is not HIPAA compliant: a healthcare organisation is registered only with the name of who "
            "acknowledged that",
            field="acknowledged_by",
            remedy="Send acknowledged_by with the name of the person who acknowledged it.",
        )
    if isinstance(record, User) and record.number is not None and not is_own(record.number):
        raise Malformed(f"number {_MUST_BE['number']}", field="number")
    return record


def _refusal(error: ValidationError) -> Malformed:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] in ("json_invalid", "model_type", "model_attributes_type", "dict_type"):
        return Malformed("a directory record is a JSON object")
    field = _field(first)
    if first["type"] == "extra_forbidden":
        return Malformed("there is a member that a record of this kind does not have")
    if first["type"] == "missing":
        return Malformed(f"{field} is missing", field=field)
    words = _MUST_BE.get(field) or _WORDS.get(first["type"], "is not of the documented form")
    return Malformed(f"{field} {words}", field=field)


def _field(error: ErrorDetails) -> str:
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return "kind"
    names = [part for part in error["loc"] if isinstance(part, str) and part in _MEMBERS]
    return names[-1] if names else "kind"


_MEMBERS: Final = frozenset().union(*(model.model_fields for model in (Org, Location, User)))
