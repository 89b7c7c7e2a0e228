"""Times in records: UTC, to the second, as text that sorts."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime

from synthrelease.errors import IntegrityError

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def stamp(time: datetime) -> str:
    """A time as records write it.

    >>> stamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'

    Raises:
        ValueError: The time has no zone, so nobody can say when it was.
    """
    if time.tzinfo is None:
        raise ValueError("a time without its zone")
    return time.astimezone(UTC).strftime(_FORM)


def parse_time(text: str) -> datetime:
    """The inverse of :func:`stamp`.

    Raises:
        IntegrityError: The text is not such a time.
    """
    try:
        return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
    except (TypeError, ValueError) as error:
        raise IntegrityError("a record holds a time that cannot be read", fix="Restore it from a copy.") from error


def months_later(time: datetime, months: int) -> datetime:
    """The same day and hour, ``months`` later; the last day of a shorter month.

    >>> months_later(datetime(2026, 1, 31, tzinfo=UTC), 1).date().isoformat()
    '2026-02-28'
    """
    year, month = divmod(time.month - 1 + months, 12)
    last = calendar.monthrange(time.year + year, month + 1)[1]
    return time.replace(year=time.year + year, month=month + 1, day=min(time.day, last))
