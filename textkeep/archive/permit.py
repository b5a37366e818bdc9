"""The permit: what must be shown before the last copy of a text or of a quarantined record may go. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Permit:
    """One way of destroying, allowed for one shelf; `path` names the way.

    Only `retention/purging/destruction.py` gives one, after it has asked the holds in the transaction of whoever
    destroys.
    """

    path: str
    shelf: str
