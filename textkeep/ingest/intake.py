"""Intake: the records of a request to its receipt. Parses, decides, hands to the vault."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from textkeep.access import rules
from textkeep.access.principal import Principal
from textkeep.archive.batch import Batch, Incoming, Receipt
from textkeep.archive.text import Handle
from textkeep.archive.vault import Beside, Vault
from textkeep.clock import Clock
from textkeep.directory.directory import Directory
from textkeep.errors import Forbidden, TooLarge
from textkeep.ingest.eligibility import decide
from textkeep.ingest.splitting import MAX_RECORDS
from textkeep.ingest.wire import Arrived, Parsed, Rejected, parse


class Intake:
    """The one way in, whichever door a record came through."""

    def __init__(self, directory: Directory, vault: Vault, clock: Clock) -> None:
        self._directory = directory
        self._vault = vault
        self._clock = clock

    def take(self, principal: Principal, requests: Sequence[Sequence[bytes]]) -> list[Receipt]:
        """The receipts of requests, each the exact bytes of its records; on disk, in one transaction, when it returns.

        Raises like `prepare` and `store`; then nothing of any request is stored.
        """
        return self.store([self.prepare(principal, records) for records in requests])

    def prepare(self, principal: Principal, records: Sequence[bytes]) -> Batch:
        """The batch that a request becomes, every record decided; nothing is stored.

        Raises Forbidden where the principal may not write texts, or where every organisation that the records name is
        foreign to it; TooLarge over MAX_RECORDS; Outage where the directory cannot be looked at.
        """
        rules.require(principal, "texts.write", None)
        if len(records) > MAX_RECORDS:
            raise TooLarge(f"a request has at most {MAX_RECORDS} records")
        parsed = [parse(raw) for raw in records]
        self._directory.refresh()  # what another process has registered by now is never unknown here
        self._require_own(principal, parsed)
        now = self._clock()
        decided = [
            self._decide(principal, index, raw, record, now)
            for index, (raw, record) in enumerate(zip(records, parsed, strict=True))
        ]
        return Batch(uuid.uuid4().hex, now, principal.person, decided)

    def gather(self, principal: Principal, arrived: Sequence[Arrived]) -> Batch:
        """The batch that records become which came one by one; nothing is stored.

        What is foreign to the principal is each record's own fault, also where all of them are: nobody stands behind
        them who could be told. Raises Forbidden where the principal may not write texts; TooLarge over MAX_RECORDS;
        Outage where the directory cannot be looked at.
        """
        rules.require(principal, "texts.write", None)
        if len(arrived) > MAX_RECORDS:
            raise TooLarge(f"a batch has at most {MAX_RECORDS} records")
        parsed = [fault or parse(raw) for raw, _, fault in arrived]
        self._directory.refresh()
        now = self._clock()
        decided = [
            self._decide(principal, index, each.raw, record, now, each.origin)
            for index, (each, record) in enumerate(zip(arrived, parsed, strict=True))
        ]
        return Batch(uuid.uuid4().hex, now, principal.person, decided)

    def store(self, batches: Sequence[Batch], beside: Beside | None = None) -> list[Receipt]:
        """The receipts of prepared batches, in one transaction. Raises Outage; then nothing of any batch is stored.

        `beside` is done in the same transaction, before anything else; what it raises undoes all of it.
        """
        return self._vault.accept(batches, beside)

    def _decide(
        self,
        principal: Principal,
        index: int,
        raw: bytes,
        record: Parsed | Rejected,
        now: datetime,
        origin: Mapping[str, str | int] | None = None,
    ) -> Incoming:
        if isinstance(record, Rejected):
            handle = self._own(principal, record.org_id)
            verdict = decide(record, None, now)
            return Incoming(
                raw,
                index,
                record.id,
                record.sent_at,
                handle,
                record.source,
                "quarantine",
                verdict.reason,
                verdict.field,
                origin=origin,
            )
        event, sent_at = record.event, record.sent_at
        facts = self._directory.as_of(event.data.org_id, event.data.user_id, sent_at)
        if facts is not None and not principal.sees(facts.handle):
            facts = None
        verdict = decide(record, facts, now)
        return Incoming(
            raw,
            index,
            event.id,
            sent_at,
            None if facts is None else facts.handle,
            event.source,
            verdict.kind,
            verdict.reason,
            verdict.field,
            verdict.flags,
            origin,
        )

    def _require_own(self, principal: Principal, parsed: Sequence[Parsed | Rejected]) -> None:
        if principal.orgs is None:
            return
        named = set(_named(parsed))
        if named and not any(self._own(principal, org_id) for org_id in named):
            raise Forbidden(
                "every organisation that the records name is foreign to the token",
                field="data.org_id",
                remedy="Send them with a token of their organisation; nothing of this request was stored.",
            )

    def _own(self, principal: Principal, org_id: str | None) -> Handle | None:
        """The handle of a registered organisation that the principal sees."""
        handle = None if org_id is None else self._directory.handle_of(org_id)
        return handle if handle is not None and principal.sees(handle) else None


def _named(parsed: Sequence[Parsed | Rejected]) -> Iterator[str]:
    for record in parsed:
        org_id = record.org_id if isinstance(record, Rejected) else record.event.data.org_id
        if org_id is not None:
            yield org_id
