"""The reason that a search needs, as in every room: `textkeep.access.reasons`."""

from textkeep.access.reasons import MAX_REASON, must_have_reason

__all__ = ["MAX_REASON", "must_have_reason"]
