"""The numbered steps of a verification: what each one shows, what it does not, and how it went. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["pass", "fail", "unknown"]

Name = Literal[
    "report",
    "proof",
    "entry",
    "checkpoint",
    "inclusion",
    "witnesses",
    "older checkpoint",
    "ledger",
    "key changes",
    "totals",
    "times",
    "recount",
    "chain",
    "own verdict",
]


class Failed(Exception):
    """A step does not show what it should; the message is the reason."""


class NotShown(Exception):
    """What a step needs is not there, so that it shows nothing either way; the message says what."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `asked` is False for one that was not asked for: that it shows nothing then is no failure."""

    number: int
    name: Name
    verdict: Verdict
    reason: str
    shows: str
    does_not_show: str
    asked: bool = True

    @property
    def good(self) -> bool:
        """Whether nothing stands against the report here."""
        return self.verdict == "pass" or (self.verdict == "unknown" and not self.asked)


MEANING: Final[dict[Name, tuple[str, str]]] = {
    "report": (
        "the report is one document of a known format, in the one form it can have",
        "that anything it says is true",
    ),
    "proof": (
        "the proof is of the format C2SP tlog-proof and carries one ledger entry",
        "that the entry is in any ledger",
    ),
    "entry": (
        "the entry speaks of exactly these bytes, by their SHA-256, and of the report before them",
        "that the report is the only one ever made of its shelf; the ledger's entries show that",
    ),
    "checkpoint": (
        "who holds the log's key signed this size and root of the ledger",
        "who that is: the key is as good as the way by which you got it",
    ),
    "inclusion": (
        "the entry is in the ledger whose root was signed",
        "that others were shown the same ledger",
    ),
    "witnesses": (
        "each witness signed the same root: it had seen nothing that contradicts it, up to the time it gives",
        "anything about who else was shown another ledger later, or that the witness is independent of the archive",
    ),
    "older checkpoint": (
        "the ledger only grew between the two checkpoints: what stood in the earlier one stands unchanged in the later",
        "what was in the ledger before the earlier checkpoint was signed, other than it says now",
    ),
    "ledger": (
        "the folder holds every entry of the signed ledger, none more, in their order: its root was computed anew",
        "that the source sent everything, or that what a producer sent is true",
    ),
    "key changes": (
        "every change of the log's key was signed by the old key and the new one, but for those that it names as lost",
        "that nobody else ever held one of these keys; after a lost one, that the log before it is as it was: only"
        " witnesses and older checkpoints show that",
    ),
    "totals": (
        "taken = kept + destroyed + lost, in all and for each organisation, and roots that must be equal are equal",
        "that the numbers are those of the ledger; `recount` shows that",
    ),
    "times": (
        "by the clocks the report names, a day was closed no earlier than 400 days after its last text, and held texts"
        " no earlier than 24 hours after two persons agreed on a release; with the ledger, that its entries say so too",
        "that these clocks were right, or that the two were two people",
    ),
    "recount": (
        "numbers and roots of what was taken are those of the ledger entries of this shelf, every one of them counted",
        "that what was destroyed cannot be read anywhere: no proof shows that no copy of a key exists",
    ),
    "chain": (
        "each report names the one before; no number and no day between the first and the last is missing",
        "that there is no report after the last one of the folder",
    ),
    "own verdict": (
        "the report's verdict is no better than its own lines",
        "that what the archive reads back of itself is true; a verified report may say `fail`",
    ),
}
"""What each step shows and what it does not, in the order they are made."""


def verified(steps: list[Step]) -> bool:
    """Whether every step that was asked for passed, and none failed."""
    return all(step.good for step in steps)
