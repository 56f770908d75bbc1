"""How long each row lives under a policy, and which cleanup takes it. Exact, to the microsecond.

Two modes. *Forward* is how Airflow works: a row that exists keeps the expiry it was written with, whatever the
policy says. *As if* asks what would be if the policy had been in force at each write: ``updated_at`` plus what the
policy gives.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from storekit.errors import QueryError
from storekit.retention.durations import spell_duration
from storekit.retention.matching import matched_rules
from storekit.retention.policy import AS_WRITTEN, Policy
from storekit.retention.rows import NO_EXPIRY, Int64s, StoreRows, as_instant_us, as_us
from storekit.retention.written import DAY_US, How, Written
from storekit.state import NEVER_EXPIRE

__all__ = ["CLEARED", "MOST_RUNS", "Lives", "Mode", "cleanup_runs", "lives", "tally"]

CLEARED = int(np.iinfo(np.int64).min)
"""Stands among expiries for "gone already": cleared when its task succeeded."""

MOST_RUNS = 10_000
_EXACT_FLOAT = 2**53
_LAST_US = as_instant_us(datetime.max.replace(tzinfo=UTC))


class Mode(enum.StrEnum):
    """How a policy meets the rows that exist."""

    FORWARD = "forward"
    """They keep their expiry; the policy meets future writes only. How Airflow works."""
    AS_IF = "as-if"
    """As if the policy had been in force at each write."""


@dataclass(frozen=True)
class Lives:
    """When each row expires under a policy.

    Parameters
    ----------
    soonest_us, latest_us
        Expiries in microseconds since 1970; `NO_EXPIRY`: none; `CLEARED`: gone already. They differ where it is not
        known how a row was written: ``soonest`` if by the default, ``latest`` if with NEVER_EXPIRE.
    rule
        The policy's rule that takes the row; -1: none.
    """

    soonest_us: Int64s
    latest_us: Int64s
    rule: npt.NDArray[np.int32]

    @property
    def ambiguous(self) -> bool:
        """Whether the two differ for any row."""
        return self.soonest_us is not self.latest_us


def lives(rows: StoreRows, written: Written, policy: Policy, mode: Mode) -> Lives:
    """Return when each row expires under a policy. Asset rows never do."""
    rule = matched_rules(policy, rows)
    as_written = _as_written(rows, written)
    if mode is Mode.FORWARD:
        return Lives(as_written, as_written, rule)
    latest = as_written.copy()
    ruled = np.zeros(len(rows), np.bool_)
    for number, each in enumerate(policy.rules):
        if each.retention is AS_WRITTEN:
            continue  # as if no rule had taken the row: the default is for it too
        taken = rule == number
        ruled |= taken
        if each.retention is NEVER_EXPIRE:
            latest[taken] = NO_EXPIRY
        else:
            latest[taken] = _later(rows.updated_us[taken], as_us(each.retention))
    soonest = latest
    days = policy.default_retention_days
    if days is not None:
        by_default = written.is_(How.DEFAULT) & ~ruled
        latest[by_default] = _by_default(rows.updated_us[by_default], days)
        untold = written.is_(How.UNTOLD) & ~ruled
        if days and untold.any():
            soonest = latest.copy()
            soonest[untold] = _by_default(rows.updated_us[untold], days)
    if policy.clear_on_success:
        succeeded = (rows.task_state.codes == rows.task_state.code("success")) & ~rows.is_asset
        latest[succeeded] = CLEARED
        soonest[succeeded] = CLEARED
    return Lives(soonest, latest, rule)


def _as_written(rows: StoreRows, written: Written) -> Int64s:
    return np.where(written.is_(How.NEVER) | rows.is_asset, NO_EXPIRY, rows.expires_us)


def _by_default(updated_us: Int64s, days: int) -> Int64s:
    return _later(updated_us, days * DAY_US) if days else np.full(len(updated_us), NO_EXPIRY)


def _later(updated_us: Int64s, by_us: int) -> Int64s:
    """Add a retention; what ends after the year 9999, which no store can hold, is no expiry."""
    # A row may be written in the year 1: cut so, the longest retention still leads it out of 9999 and stays in 64 bits.
    by_us = min(by_us, 2 * _LAST_US)
    return np.where(updated_us > _LAST_US - by_us, NO_EXPIRY, updated_us + np.int64(by_us))


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
