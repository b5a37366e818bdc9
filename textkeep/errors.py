"""Every error of the house, by whom it concerns. The HTTP status is assigned here, once.

TextkeepError
├── Refusal           the caller can mend it: 4xx
│   ├── Malformed         the request is not of the documented form
│   ├── Unauthenticated   no credential, or one that is not known, expired or revoked
│   ├── Forbidden         a known caller who may not do this
│   ├── CapabilityUnavailable  built, tested, and not open in this deployment
│   ├── NotFound          nothing of that name, or nothing the caller may know of
│   ├── MethodNotAllowed  the address is known, the method is none of its own
│   ├── Conflict          the state of the archive stands against it
│   ├── RetentionFixed    somebody tried to change the 400 days
│   ├── TooLarge          over a named limit
│   ├── UnknownMediaType  a content type or encoding no door takes
│   ├── QueryMalformed    a query is not of the query language
│   ├── ReasonRequired    texts are searched and read for a stated reason only
│   ├── Unanswerable      understood, and outside a named bound
│   └── TooBusy           come back later: the writer is behind
├── Outage            nobody's fault here: 503, come back later
├── Fault             Textkeep's own: 500, never with a detail
└── Unsound           evidence or configuration that must not be worked with: no start
"""

from typing import ClassVar

PROBLEMS: dict[str, type["TextkeepError"]] = {}
"""Every problem that can be answered, by its name; `/problems/NAME` serves its words."""


class TextkeepError(Exception):
    """One base for all that Textkeep raises on purpose.

    `detail` says what happened and never quotes a text, a number, a name or a key. `field` names the
    offending member (a JSON path, a header, a setting). `remedy` says what to do next.
    """

    problem: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int] = 500
    remedy: str = ""

    def __init__(
        self, detail: str, *, field: str | None = None, remedy: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after = retry_after
        if remedy is not None:
            self.remedy = remedy

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "problem" in vars(cls):
            PROBLEMS[cls.problem] = cls


class Refusal(TextkeepError):
    """The caller can mend it."""

    status = 400


class Malformed(Refusal):
    """The request is not of the documented form. Nothing of it was stored."""

    problem = "malformed"
    title = "The request is not of the documented form"
    remedy = "Correct the named field and send the request again."


class Unauthenticated(Refusal):
    """There is no credential, or it is not known, has expired or was revoked."""

    problem = "unauthenticated"
    title = "A valid token is needed"
    status = 401
    remedy = "Send `Authorization: Bearer TOKEN`; `textkeep token create` makes one."


class Forbidden(Refusal):
    """The caller is known, and its role or its organisations do not allow this."""

    problem = "forbidden"
    title = "This token may not do that"
    status = 403
    remedy = "Ask for a token whose role and organisations allow it."


class CapabilityUnavailable(Refusal):
    """The capability is built and tested, and the operator of this deployment has not opened it.

    While it is closed nothing is collected for it, and opening it later back-fills nothing.
    """

    problem = "capability-unavailable"
    title = "This capability is not open in this deployment"
    status = 403
    remedy = "Only the operator of the deployment can open it; no user's setting does."


class NotFound(Refusal):
    """There is nothing of that name, or nothing that this caller may know of."""

    problem = "not-found"
    title = "Nothing of that name"
    status = 404
    remedy = "Check the name; a purged or expired text is not found either."


class MethodNotAllowed(Refusal):
    """The address is known, and takes other methods only; `Allow` names them."""

    problem = "method-not-allowed"
    title = "The address does not take this method"
    status = 405
    remedy = "Use one of the methods in Allow; /openapi.json lists every route."


class Conflict(Refusal):
    """The state of the archive stands against the request. Nothing was changed."""

    problem = "conflict"
    title = "The state of the archive stands against it"
    status = 409


class RetentionFixed(Refusal):
    """The retention period is 400 days. No setting, flag, column or request changes it."""

    problem = "retention-fixed"
    title = "Retention is fixed at 400 days"
    status = 409
    remedy = "To keep texts longer, place a legal hold."


class TooLarge(Refusal):
    """The request is over a named limit. Nothing of it was stored."""

    problem = "too-large"
    title = "The request is over a limit"
    status = 413
    remedy = "Send it in smaller parts."


class UnknownMediaType(Refusal):
    """No door takes this content type or content encoding. Nothing was stored."""

    problem = "unknown-media-type"
    title = "No door takes this content type"
    status = 415
    remedy = (
        "Send application/cloudevents+json, application/cloudevents-batch+json or application/x-ndjson, plain or gzip."
    )


class QueryMalformed(Refusal):
    """The query is not of the query language. The detail says where, counted in characters from 1."""

    problem = "query-malformed"
    title = "The query cannot be read"
    status = 422
    remedy = "Mend it at the named place; docs/search.md describes the language."


class ReasonRequired(Refusal):
    """Texts are searched and read for a stated reason only; it goes on record. Nothing was looked at."""

    problem = "reason-required"
    title = "A reason is needed"
    status = 400
    remedy = "Say why: `reason` of a search, the header Textkeep-Reason of a reading."


class Unanswerable(Refusal):
    """The query is understood, but answering it would pass a named bound."""

    problem = "unanswerable"
    title = "Answering would pass a bound"
    status = 422
    remedy = "Narrow it: add a word, a number, a user or a range of days."


class TooBusy(Refusal):
    """The writer is behind. Nothing of this request was stored; send it again, unchanged, after a while."""

    problem = "too-busy"
    title = "The archive is catching up"
    status = 429
    remedy = "Send the same request again after the time in Retry-After."


class Outage(TextkeepError):
    """A part that Textkeep stands on does not answer. What was not acknowledged was not stored."""

    problem = "outage"
    title = "A part of the archive is out of reach"
    status = 503
    remedy = "Send the same request again after the time in Retry-After; `textkeep doctor` names the part."


class Fault(TextkeepError):
    """Textkeep itself is at fault. What was not acknowledged was not stored; the log holds where, and no data."""

    problem = "fault"
    title = "Textkeep made a mistake"
    status = 500
    remedy = "Send the request again; if it fails again, report it with the log's line of that moment."


class Unsound(TextkeepError):
    """Evidence or configuration is not as it must be, and working on would make it worse."""

    problem = "unsound"
    title = "The archive will not work like this"
    status = 503
    remedy = "Run `textkeep doctor`."
