"""Time tokens of an authority (RFC 3161) over what the ledger has signed. Its client is the extra `timestamp`.

The token is over SHA-256 of the signed note of the checkpoint that holds a purge's `committed`, and was there before
anything was destroyed. Without an authority the time is the host's.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx

from textkeep.errors import Outage, Unsound

SECONDS: Final = 15.0
"""How long an authority may take to answer."""

MOST_BYTES: Final = 64 * 1024
"""The largest answer that is read."""

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_QUERY: Final = "application/timestamp-query"
_REPLY: Final = "application/timestamp-reply"


@dataclass(frozen=True, slots=True)
class TimeToken:
    """A token as it came (DER), and the time it gives."""

    token: bytes
    at: datetime

    def text(self) -> str:
        """The token in base64."""
        return base64.b64encode(self.token).decode("ascii")

    def digest(self) -> str:
        """SHA-256 of the token, hex."""
        return hashlib.sha256(self.token).hexdigest()


class TimeAuthority:
    """One authority, at a URL. With `roots`, a file of PEM certificates, its answers are held against them.

    Raises Unsound where its client is not installed or the certificates cannot be read.
    """

    def __init__(self, url: str, roots: Path | None = None) -> None:
        try:
            import rfc3161_client  # noqa: F401  an extra: missing is told at the start, and not at the first purge
        except ModuleNotFoundError as exc:
            raise Unsound(
                "the client of time authorities is not installed; nothing was started",
                field="TEXTKEEP_TIME_AUTHORITY",
                remedy="Install textkeep[timestamp], or leave the setting out.",
            ) from exc
        self._url = url
        self._roots = None if roots is None else _read(roots)

    def stamp(self, note: bytes) -> TimeToken:
        """A token over a note. Raises Outage where the authority does not answer, Unsound where it answers something
        else than a token over that note."""
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response
        from rfc3161_client.errors import VerificationError

        request = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256).build()
        content = self._asked(request.as_bytes())
        try:
            reply = decode_timestamp_response(content)
            if reply.status not in (0, 1):
                raise _untrue("refuses")
            told = reply.tst_info
            imprint = told.message_imprint
            if imprint.hash_algorithm.dotted_string != _SHA256 or imprint.message != hashlib.sha256(note).digest():
                raise _untrue("answered for something else")
            if told.nonce != request.nonce:
                raise _untrue("answered another question")
            self._verify(reply, request, note)
            return TimeToken(reply.time_stamp_token(), told.gen_time)
        except VerificationError as exc:
            raise _untrue("has no certificate that is trusted") from exc
        except ValueError as exc:
            raise _untrue("answered what is no token") from exc

    def _asked(self, query: bytes) -> bytes:
        try:
            answer = httpx.post(
                self._url, content=query, headers={"Content-Type": _QUERY}, timeout=SECONDS, trust_env=False
            )
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise _silent() from exc
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not answer.is_success or len(answer.content) > MOST_BYTES or media_type != _REPLY:
            raise _silent()
        return answer.content

    def _verify(self, reply: object, request: object, note: bytes) -> None:
        if self._roots is None:
            return
        from cryptography import x509
        from rfc3161_client import TimeStampRequest, TimeStampResponse, VerifierBuilder

        if not isinstance(reply, TimeStampResponse) or not isinstance(request, TimeStampRequest):
            raise TypeError("not an answer and its question")
        builder = VerifierBuilder.from_request(request)
        for root in x509.load_pem_x509_certificates(self._roots):
            builder = builder.add_root_certificate(root)
        builder.build().verify_message(reply, note)


def _read(roots: Path) -> bytes:
    from cryptography import x509

    try:
        content = roots.read_bytes()
        x509.load_pem_x509_certificates(content)
    except (OSError, ValueError) as exc:
        raise Unsound(
            "the certificates of the time authority cannot be read; nothing was started",
            field="TEXTKEEP_TIME_AUTHORITY_CA",
            remedy="Name a file of PEM certificates, or leave it out.",
        ) from exc
    return content


def _silent() -> Outage:
    return Outage(
        "the time authority does not answer", retry_after=60, remedy="See TEXTKEEP_TIME_AUTHORITY; the next run asks."
    )


def _untrue(what: str) -> Unsound:
    return Unsound(
        f"the time authority {what}; its answer counts for nothing",
        field="TEXTKEEP_TIME_AUTHORITY",
        remedy="Ask whoever runs it, or name another one.",
    )
