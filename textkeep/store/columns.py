"""What the columns of every table are made of."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Dialect, MetaData, TypeDecorator

metadata = MetaData()
"""Every table that is not a shelf's own."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def ticks(moment: datetime) -> int:
    """Whole microseconds since 1970, as moments are stored."""
    return (moment - _EPOCH) // _TICK


def instant(ticks: int) -> datetime:
    """The moment, in UTC, that is stored as so many microseconds."""
    return _EPOCH + ticks * _TICK


def ticks_of(seconds: float) -> int:
    """So many seconds, in the same unit."""
    return timedelta(seconds=seconds) // _TICK


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, stored as whole microseconds since 1970, so that it compares alike on every engine."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds; refuses a moment without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone cannot be stored")
        return ticks(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The moment, in UTC."""
        return None if value is None else instant(value)
