"""Instants as users write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from storekit.clock import as_utc
from storekit.errors import QueryError

__all__ = ["as_instant"]


def as_instant(now: datetime | str) -> datetime:
    """Return an instant that a user gave, in UTC.

    Raises
    ------
    QueryError
        If it is none, has no zone, or leaves the years 1 to 9999.
    """
    hint = "datetime(2026, 11, 22, 10, tzinfo=UTC) or '2026-11-22T10:00:00Z'"
    try:
        instant = datetime.fromisoformat(now) if isinstance(now, str) else now
    except ValueError:
        raise QueryError(f"now={now!r} is not an instant", hint=hint) from None
    if not isinstance(instant, datetime) or instant != instant:
        raise QueryError(f"now={now!r} is not an instant", hint=hint)
    if isinstance(instant, pd.Timestamp):
        # Cut to the microseconds that the store knows.
        instant = instant.to_pydatetime(warn=False)
    if instant.utcoffset() is None:
        raise QueryError(f"now={now!r} has no time zone: guessing one could shift it by hours", hint=hint)
    try:
        return as_utc(instant).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise QueryError(f"now={now!r} is not an instant in UTC's years 1 to 9999", hint=hint) from None
