"""Instants, durations and names as users write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from storekit.clock import as_utc
from storekit.errors import QueryError
from storekit.retention.durations import read_duration

__all__ = ["as_instant", "as_skew", "as_span", "as_text"]

_MOST_SKEW = timedelta(hours=12)  # exclusive: half a day is as near to one whole number of days as to the next


def as_instant(now: datetime | str, name: str = "now") -> datetime:
    """Return an instant that a user gave, in UTC; ``name`` says which.

    Raises
    ------
    QueryError
        If it is none, has no zone, or leaves the years 1 to 9999.
    """
    hint = "datetime(2026, 11, 22, 10, tzinfo=UTC) or '2026-11-22T10:00:00Z'"
    try:
        instant = datetime.fromisoformat(now) if isinstance(now, str) else now
    except ValueError:
        raise QueryError(f"{name}={now!r} is not an instant", hint=hint) from None
    if not isinstance(instant, datetime) or instant != instant:
        raise QueryError(f"{name}={now!r} is not an instant", hint=hint)
    if isinstance(instant, pd.Timestamp):
        # Cut to the microseconds that the store knows.
        instant = instant.to_pydatetime(warn=False)
    if instant.utcoffset() is None:
        raise QueryError(f"{name}={now!r} has no time zone: guessing one could shift it by hours", hint=hint)
    try:
        return as_utc(instant).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise QueryError(f"{name}={now!r} is not an instant in UTC's years 1 to 9999", hint=hint) from None


def as_span(span: timedelta | str, name: str) -> timedelta:
    """Return a duration that a user gave.

    Raises
    ------
    QueryError
        If it is none, or not more than zero; ``name`` says which.
    """
    try:
        length = read_duration(span) if isinstance(span, str) else span
    except ValueError as error:
        raise QueryError(f"{name}={span!r} is no duration: {error}", hint="'90d', '36h', or a timedelta") from None
    if not isinstance(length, timedelta):
        raise QueryError(f"{name}={span!r} is no duration", hint="'90d', '36h', or timedelta(days=90)")
    if length <= timedelta(0) or length > timedelta(days=36_500):
        raise QueryError(f"{name}={span!r} is not between 0 and 36,500 days", hint="'90d', '36h', or a timedelta")
    return length


def as_skew(skew: timedelta | str, name: str = "skew") -> timedelta:
    """Return how far clocks may differ, as a user gave it.

    Raises
    ------
    QueryError
        If it is no duration, negative, or 12 hours or more; ``name`` says what was given.
    """
    hint = "'1min', '30s', or a timedelta"
    try:
        length = read_duration(skew)
    except ValueError as error:
        raise QueryError(f"{name}={skew!r} is no duration: {error}", hint=hint) from None
    if length >= _MOST_SKEW:
        raise QueryError(f"{name}={skew!r} cannot tell days apart: it must be less than 12 hours", hint=hint)
    return length


def as_text(text: Any, name: str) -> str:
    """Return a name that a user gave, of a Dag, a task or a key.

    Raises
    ------
    QueryError
        If it is no text, or one that no database can hold.
    """
    if not isinstance(text, str):
        raise QueryError(f"{name}={text!r} is no text", hint=f"one {name}, exactly as stored")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise QueryError(
            f"{name}={text!r} holds a lone surrogate, which no row can", hint=f"one {name}, exactly as stored"
        )
    return text
