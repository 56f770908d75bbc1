"""How long each row lives under a policy, and which cleanup takes it. Exact, to the microsecond.

Two modes. *Forward* is how Airflow works: a row that exists keeps the expiry it was written with, whatever the
policy says. *As if* asks what would be if the policy had been in force at each write: ``updated_at`` plus what the
policy gives.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from storekit.errors import QueryError
from storekit.retention.ages import AgeIndex, Sums
from storekit.retention.durations import spell_duration
from storekit.retention.held import Held
from storekit.retention.matching import matched_rules
from storekit.retention.policy import AS_WRITTEN, Policy
from storekit.retention.rows import NO_EXPIRY, Int64s, StoreRows, as_instant_us, as_us
from storekit.retention.written import DAY_US, How, Written
from storekit.state import NEVER_EXPIRE

__all__ = ["CLEARED", "LAST_US", "MOST_RUNS", "Fixed", "Grounds", "Lives", "Mode", "cleanup_runs", "tally"]

Bools = npt.NDArray[np.bool_]

CLEARED = int(np.iinfo(np.int64).min)
"""Stands among expiries for "gone already": cleared when its task succeeded."""

MOST_RUNS = 10_000
_EXACT_FLOAT = 2**53
_RULED = 4  # policies with other rules, or clearing, at once
_SCHEDULES = 4
LAST_US = as_instant_us(datetime.max.replace(tzinfo=UTC))
"""The last instant that a store can hold."""


class Mode(enum.StrEnum):
    """How a policy meets the rows that exist."""

    FORWARD = "forward"
    """They keep their expiry; the policy meets future writes only. How Airflow works."""
    AS_IF = "as-if"
    """As if the policy had been in force at each write."""


class Fixed:
    """What rules and clearing make of every row, and which rows are left to ``default_retention_days``.

    Held once for all policies that differ in their default alone: a slider's. Rows that the default wrote expire in the
    order of their last writes, so each further default is a binary search among those.

    Parameters
    ----------
    rows
        Ordered by last write.
    expires_us
        When each expires, had the default not been changed: in microseconds since 1970; `NO_EXPIRY`: never; `CLEARED`:
        gone already.
    by_default, untold
        Which rows the default decides, and which it decides if it wrote them: their expiry is `NO_EXPIRY`.
    sums
        Of these two, if they are at hand.
    """

    def __init__(
        self, rows: StoreRows, expires_us: Int64s, by_default: Bools, untold: Bools, sums: tuple[Sums, Sums] | None
    ) -> None:
        self.rows, self.expires_us = rows, expires_us
        self.by_default, self.untold = by_default, untold
        self.default_sums, self.untold_sums = sums or (
            Sums(rows.updated_us[each], rows.value_bytes[each]) for each in (by_default, untold)
        )
        self._deaths: Held[tuple[Int64s, Int64s]] = Held(_SCHEDULES)

    @cached_property
    def cleared(self) -> tuple[int, int]:
        """How many rows, and bytes, a success would have cleared before."""
        cleared = self.expires_us == CLEARED
        return int(cleared.sum()), int(self.rows.value_bytes[cleared].sum())

    def deaths(self, runs_us: Int64s, *, all_rows: bool) -> tuple[Int64s, Int64s]:
        """Return how many rows, and bytes, each cleanup deletes, then those that outlive them all; not to be changed.

        Parameters
        ----------
        runs_us
            The cleanups, one interval apart.
        all_rows
            Else without those that the default decides.
        """
        # A row of numbers one interval apart is known by its ends and its length.
        ends = (int(runs_us[0]), int(runs_us[-1])) if len(runs_us) else ()
        return self._deaths.get((len(runs_us), ends, all_rows), lambda: self._counted(runs_us, all_rows))

    def _counted(self, runs_us: Int64s, all_rows: bool) -> tuple[Int64s, Int64s]:
        there = self.expires_us != CLEARED
        if not all_rows:
            there &= ~self.by_default
        mortal = there & (self.expires_us != NO_EXPIRY)
        place = np.searchsorted(runs_us, self.expires_us[mortal], side="right")
        rows, sizes = tally(place, self.rows.value_bytes[mortal], len(runs_us) + 1)
        forever = there & ~mortal
        rows[-1] += int(forever.sum())
        sizes[-1] += int(self.rows.value_bytes[forever].sum())
        return rows, sizes


@dataclass(frozen=True)
class Lives:
    """When each row expires under a policy. Asset rows never do.

    ``soonest`` and ``latest`` differ where it is not known how a row was written: ``soonest`` if by the default,
    ``latest`` if with NEVER_EXPIRE.

    Parameters
    ----------
    fixed
        What does not depend on the default.
    by_us
        What the default gives; `NO_EXPIRY`: no expiry; None: rows stay as they were written.
    """

    fixed: Fixed
    by_us: int | None

    @property
    def ambiguous(self) -> bool:
        """Whether the two differ for any row."""
        return self._ages and bool(len(self.fixed.untold_sums.instants))

    @property
    def _ages(self) -> bool:
        return self.by_us is not None and self.by_us != NO_EXPIRY

    @property
    def latest_us(self) -> Int64s:
        """Every row's expiry, made anew: `NO_EXPIRY`: none; `CLEARED`: gone already."""
        return self.at(slice(None), soonest=False)

    @property
    def soonest_us(self) -> Int64s:
        """The same if the default wrote what is ambiguous."""
        return self.at(slice(None), soonest=True)

    def at(self, places: npt.NDArray[np.intp] | slice, *, soonest: bool) -> Int64s:
        """Return the expiries of the rows at these positions."""
        fixed = self.fixed
        expires = fixed.expires_us[places]
        if self.by_us is None:
            return expires
        decided = fixed.by_default[places]
        if soonest and self._ages:
            decided = decided | fixed.untold[places]
        later = NO_EXPIRY if self.by_us == NO_EXPIRY else _later(fixed.rows.updated_us[places], self.by_us)
        return np.where(decided, later, expires)

    def gone(self, before_us: int, *, soonest: bool) -> Bools:
        """Tell which rows expire before an instant, strictly; what is cleared does before every one."""
        fixed = self.fixed
        before_us = min(max(before_us, CLEARED + 1), LAST_US + 1)  # what would expire later never does
        gone = np.less(fixed.expires_us, before_us)
        if self.by_us is None:
            return gone
        gone &= ~fixed.by_default
        if self._ages:
            # Rows are in the order of their last writes.
            old = int(np.searchsorted(fixed.rows.updated_us, max(before_us - self.by_us, CLEARED), side="left"))
            gone[:old] |= fixed.by_default[:old]
            if soonest:
                gone[:old] |= fixed.untold[:old]
        return gone

    def deaths(self, runs_us: Int64s, *, soonest: bool) -> tuple[Int64s, Int64s]:
        """Return how many rows, and bytes, each cleanup deletes; the last place holds what outlives them all."""
        fixed = self.fixed
        settled = fixed.deaths(runs_us, all_rows=self.by_us is None)
        if self.by_us is None:
            return settled
        rows, sizes = (each.copy() for each in settled)
        rows[-1] += len(fixed.default_sums.instants)
        sizes[-1] += fixed.default_sums.before[-1]
        if self._ages:
            for sums in (fixed.default_sums, fixed.untold_sums)[: 2 if soonest else 1]:
                for held, until in zip((rows, sizes), sums.until(runs_us - np.int64(self.by_us)), strict=True):
                    held[:-1] += np.diff(until, prepend=0)
                    held[-1] -= until[-1] if len(until) else 0
        return rows, sizes


class Grounds:
    """A snapshot's rows, with what policies share of their lives.

    Parameters
    ----------
    rows, written
        The rows, and how they were written.
    ages
        Of the same: its sums serve policies without rules.
    """

    def __init__(self, rows: StoreRows, written: Written, ages: AgeIndex) -> None:
        self.rows, self.written, self._ages = rows, written, ages
        # Each but the plain ones costs some 26 bytes a row.
        self._fixed: Held[Fixed] = Held(_RULED)

    def lives(self, policy: Policy, mode: Mode) -> Lives:
        """Return when each row expires under a policy."""
        if mode is Mode.FORWARD:
            return Lives(self._forward, None)
        days = policy.default_retention_days
        # The longest retention leads out of the year 9999 from the year 1 on, and so cut it stays in 64 bits.
        by_us = None if days is None else min(days * DAY_US, 2 * LAST_US) or NO_EXPIRY
        return Lives(self._as_if(policy), by_us)

    def _as_if(self, policy: Policy) -> Fixed:
        if not policy.rules and not policy.clear_on_success:
            return self._plain
        # Of a policy, no more than these two is looked at.
        key = (policy.rules, policy.clear_on_success)
        return self._fixed.get(key, lambda: self._ruled(policy))

    @cached_property
    def _as_written(self) -> Int64s:
        forever = self.written.is_(How.NEVER) | self.rows.is_asset
        return np.where(forever, NO_EXPIRY, self.rows.expires_us)

    @cached_property
    def _forward(self) -> Fixed:
        none = np.broadcast_to(np.False_, len(self.rows))
        return Fixed(self.rows, self._as_written, none, none, None)

    @cached_property
    def _plain(self) -> Fixed:
        whole = self._ages.whole
        by_default, untold = self.written.is_(How.DEFAULT), self.written.is_(How.UNTOLD)
        return Fixed(self.rows, self._as_written, by_default, untold, (whole.by_default, whole.untold))

    def _ruled(self, policy: Policy) -> Fixed:
        rows = self.rows
        expires = self._as_written.copy()
        rule = matched_rules(policy, rows)
        open_ = np.ones(len(rows), np.bool_)
        for number, each in enumerate(policy.rules):
            if each.retention is AS_WRITTEN:
                continue  # as if no rule had taken the row: the default is for it too
            taken = rule == number
            open_ &= ~taken
            if each.retention is NEVER_EXPIRE:
                expires[taken] = NO_EXPIRY
            else:
                expires[taken] = _later(rows.updated_us[taken], as_us(each.retention))
        if policy.clear_on_success:
            succeeded = (rows.task_state.codes == rows.task_state.code("success")) & ~rows.is_asset
            expires[succeeded] = CLEARED
            open_ &= ~succeeded
        by_default, untold = self.written.is_(How.DEFAULT) & open_, self.written.is_(How.UNTOLD) & open_
        return Fixed(rows, expires, by_default, untold, None)


def _later(updated_us: Int64s, by_us: int) -> Int64s:
    """Add a retention; what ends after the year 9999, which no store can hold, is no expiry."""
    # A row may be written in the year 1: cut so, the longest retention still leads it out of 9999 and stays in 64 bits.
    by_us = min(by_us, 2 * LAST_US)
    return np.where(updated_us > LAST_US - by_us, NO_EXPIRY, updated_us + np.int64(by_us))


def cleanup_runs(policy: Policy, now: datetime, horizon: timedelta) -> Int64s:
    """Return the instants of a policy's cleanups: at ``now``, then one interval after the other, the horizon included.

    Raises
    ------
    QueryError
        For more than `MOST_RUNS`.
    """
    if policy.cleanup_every is None:
        return np.empty(0, np.int64)
    every, length, start = as_us(policy.cleanup_every), as_us(horizon), as_instant_us(now)
    if length // every >= MOST_RUNS:
        raise QueryError(
            f"{policy.name}: a cleanup every {spell_duration(policy.cleanup_every)} makes {length // every + 1:,} of "
            f"them in {spell_duration(horizon)}",
            hint=f"at most {MOST_RUNS:,}: a shorter horizon, or rarer cleanups",
        )
    return start + every * np.arange(length // every + 1, dtype=np.int64)


def tally(places: npt.NDArray[np.signedinteger[Any]], sizes: Int64s, total: int) -> tuple[Int64s, Int64s]:
    """Return how many rows, and bytes, fall on each of ``total`` places; the sums are exact."""
    rows = np.bincount(places, minlength=total).astype(np.int64)
    if int(sizes.sum()) < _EXACT_FLOAT:
        # Whole numbers below 2**53 add without error in floating point, and bincount is quick.
        return rows, np.bincount(places, weights=sizes, minlength=total).astype(np.int64)
    size = np.zeros(total, np.int64)
    np.add.at(size, places, sizes)
    return rows, size
