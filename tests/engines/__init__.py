"""What a test needs of the machine, and real engines: each is found, shared by a whole session, and ended with it."""

from tests.engines.needed import need, tool

__all__ = ["need", "tool"]
