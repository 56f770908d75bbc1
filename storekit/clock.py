"""Where instants come from: the system, or a test's own hand.

Two clocks matter in a state store. The *worker's* stamps ``expires_at`` when a value is written (accessors);
the *server's* stamps ``updated_at`` and is the ``now`` of cleanup (backends). Each is injected where it is
read, so that a test, or a simulation, can hold both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

__all__ = ["SYSTEM_CLOCK", "Clock", "ManualClock", "SystemClock", "as_utc"]


@runtime_checkable
class Clock(Protocol):
    """Anything that tells the present instant."""

    def now(self) -> datetime:
        """Return the present instant, an aware datetime in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's present instant, an aware datetime in UTC."""
        return datetime.now(UTC)

    def __repr__(self) -> str:
        return "SystemClock()"


class ManualClock:
    """A clock that stands still until it is moved.

    Parameters
    ----------
    at
        The instant to start from; aware.

    Raises
    ------
    ValueError, TypeError
        If ``at`` is naive, or no datetime.
    """

    def __init__(self, at: datetime) -> None:
        self._now = as_utc(at)

    def now(self) -> datetime:
        """Return the instant at which it stands, an aware datetime in UTC."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move forward by ``by`` (backward if negative: clocks do that) and return the new instant.

        Parameters
        ----------
        by
            How far.

        Returns
        -------
        datetime
            Where it stands now, aware, in UTC.

        Raises
        ------
        OverflowError
            If that leaves the years 1 to 9999; it stays where it was.
        """
        self._now += by
        return self._now

    def set(self, at: datetime) -> None:
        """Move to ``at``.

        Parameters
        ----------
        at
            The instant, aware; also one before the present.

        Raises
        ------
        ValueError, TypeError
            If ``at`` is naive, or no datetime; it stays where it was.
        """
        self._now = as_utc(at)

    def __repr__(self) -> str:
        return f"ManualClock({self._now.isoformat()})"


SYSTEM_CLOCK = SystemClock()


def as_utc(instant: datetime) -> datetime:
    """Return an aware instant in UTC.

    Raises
    ------
    ValueError
        If ``instant`` is naive (guessing its zone could move an expiry by hours), or leaves the years 1 to 9999.
    TypeError
        If it is no datetime.
    """
    if not isinstance(instant, datetime):
        raise TypeError(f"{instant!r} is {type(instant).__name__}, not a datetime")
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise ValueError(
            f"{instant!r} has no time zone; write it as datetime(..., tzinfo=UTC) or '2026-11-22T10:00:00Z'"
        )
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{instant!r} lies outside the years 1 to 9999 in UTC") from None
