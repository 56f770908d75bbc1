"""What a policy makes of a workload, without a database.

A written value lives until the earliest of: the next write of its key; the next success of its task instance, where
the policy clears on success; the deletion of its DagRun; the first cleanup at an instant after its expiry, strictly.
`play` finds these for all writes at once, in arrays. `storekit.testing.replay` sends the same workload through the
real backend, event by event; property tests hold the two equal, row for row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storekit.clock import as_utc
from storekit.errors import PolicyError
from storekit.retention.events import (
    CLEANUP,
    Cleanup,
    DeleteRun,
    Event,
    EventColumns,
    Passed,
    Success,
    Workload,
    Write,
)
from storekit.retention.matching import matched_rules
from storekit.retention.policy import AS_WRITTEN, Policy
from storekit.retention.rows import NO_EXPIRY, Int64s, Labels, StoreRows, as_instant_us, as_us, from_us
from storekit.state import NEVER_EXPIRE, TaskScope

__all__ = [
    "Cleanup",
    "DeleteRun",
    "Event",
    "LiveRow",
    "Outcome",
    "OverTime",
    "Success",
    "Workload",
    "Write",
    "play",
    "required_default",
]

_LAST_US = as_instant_us(datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True)
class LiveRow:
    """One row that is there at the end.

    Parameters
    ----------
    scope, key, value_bytes
        What it is.
    updated_at, expires_at
        In UTC; ``expires_at`` is None where there is no expiry.
    never_expire
        Whether it is flagged NEVER_EXPIRE.
    """

    scope: TaskScope
    key: str
    value_bytes: int
    updated_at: datetime
    expires_at: datetime | None
    never_expire: bool

    @property
    def order(self) -> tuple[str, str, str, int, str]:
        """What rows are sorted by."""
        return (self.scope.dag_id, self.scope.run_id, self.scope.task_id, self.scope.map_index, self.key)


@dataclass(frozen=True, eq=False)
class OverTime:
    """The store after each event: three int64 arrays, one entry for each event.

    Parameters
    ----------
    at_us
        The event's instant, in microseconds since 1970.
    rows, bytes
        Rows in the store right after it, and the size of their values.
    """

    at_us: Int64s
    rows: Int64s
    bytes: Int64s

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OverTime):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("at_us", "rows", "bytes"))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Outcome:
    """What a policy makes of a workload. Two outcomes are equal where every number and row is.

    Parameters
    ----------
    rows
        The rows at the end, by scope and key.
    deleted_per_cleanup, deleted_bytes_per_cleanup
        What each cleanup deletes, in their order.
    over_time
        The store after each event.
    """

    rows: list[LiveRow]
    deleted_per_cleanup: list[int]
    deleted_bytes_per_cleanup: list[int]
    over_time: OverTime


def play(workload: Workload, policy: Policy) -> Outcome:
    """Return what a policy makes of a workload, exactly, to the microsecond.

    ``policy.cleanup_every`` says nothing here: the cleanups are the workload's own. A rule's ``task_state`` is
    matched with ``running``, the state of a task that writes.

    Raises
    ------
    PolicyError
        If the policy has no ``default_retention_days``: then what a write without a retention gets is not known.
    ValueError
        If an expiry lies after the year 9999.
    """
    required_default(policy)
    columns = workload.columns
    expires, never = _expiries(columns, policy)
    end = _ends(columns, expires, clear_on_success=policy.clear_on_success)

    events = len(columns.at_us)
    died = end < events
    # Rows and bytes that come and go at each event. A rewrite is both: the old value ends where the new one starts.
    come, gone = np.zeros((2, events), dtype=np.int64), np.zeros((2, events), dtype=np.int64)
    for column, amount in enumerate((np.ones_like(end), columns.value_bytes)):
        come[column, columns.write] = amount
        np.add.at(gone[column], end[died], amount[died])
    rows, size = (come - gone).cumsum(axis=1)
    cleanups = columns.kind == CLEANUP
    return Outcome(
        rows=_live_rows(workload.events, columns, np.flatnonzero(~died), expires, never),
        deleted_per_cleanup=gone[0, cleanups].tolist(),
        deleted_bytes_per_cleanup=gone[1, cleanups].tolist(),
        over_time=OverTime(columns.at_us, rows, size),
    )


def required_default(policy: Policy) -> int:
    """Return a policy's ``default_retention_days``; refuse one that has none.

    Raises
    ------
    PolicyError
        If it is None: such a policy says what becomes of rows that are there, not of new ones.
    """
    if policy.default_retention_days is None:
        raise PolicyError(
            f"policy {policy.name!r} has no default_retention_days: a write without a retention has no expiry to take",
            hint="say Policy(default_retention_days=30, ...), or start from Policy.current()",
        )
    return policy.default_retention_days


def _live_rows(
    events: tuple[Event, ...],
    columns: EventColumns,
    alive: npt.NDArray[np.intp],
    expires: Int64s,
    never: npt.NDArray[np.bool_],
) -> list[LiveRow]:
    rows = []
    for event, until, flagged in zip(
        columns.write[alive].tolist(), expires[alive].tolist(), never[alive].tolist(), strict=True
    ):
        write: Any = events[event]
        expires_at = None if until == NO_EXPIRY else from_us(until)
        rows.append(LiveRow(write.scope, write.key, write.value_bytes, as_utc(write.at), expires_at, flagged))
    return sorted(rows, key=lambda row: row.order)


# --- when a value ends ---------------------------------------------------------------------------------------------


def _ends(columns: EventColumns, expires: Int64s, *, clear_on_success: bool) -> Int64s:
    """Return the event at which each write's value ends; the number of events: it lives."""
    events, write = len(columns.at_us), columns.write
    end = _next_of_the_same(columns.cell, write, columns.cell, write, never=events)
    if clear_on_success:
        cleared = _next_of_the_same(columns.instance, write, columns.success_instance, columns.success, never=events)
        np.minimum(end, cleared, out=end)
    deleted = _next_of_the_same(columns.run, write, columns.deletion_run, columns.deletion, never=events)
    np.minimum(end, deleted, out=end)
    # The first cleanup at an instant after the expiry. It is after the write too, since the expiry is not before it.
    cleanups = np.flatnonzero(columns.kind == CLEANUP)
    first = np.searchsorted(columns.at_us[cleanups], expires, side="right")
    np.minimum(end, np.append(cleanups, events)[first], out=end)
    return end


def _next_of_the_same(group: Int64s, after: Int64s, other_group: Int64s, others: Int64s, *, never: int) -> Int64s:
    """Return, for each event ``after``, the first of ``others`` that follows it and is of the same group."""
    # One number for (group, event), so that one sorted array answers all.
    places = np.sort(other_group * (never + 1) + others)
    found = np.searchsorted(places, group * (never + 1) + after, side="right")
    next_place = np.append(places, np.iinfo(np.int64).max)[found]
    return np.where(next_place // (never + 1) == group, next_place % (never + 1), never)


def _expiries(columns: EventColumns, policy: Policy) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Return each write's expiry, `NO_EXPIRY` where it has none, and whether it is flagged."""
    options: list[Passed] = list(columns.retentions)
    chosen = columns.passed
    if policy.rules:
        overrides = np.array([rule.retention is not AS_WRITTEN for rule in policy.rules], dtype=np.bool_)
        taken = matched_rules(policy, _as_store_rows(columns))
        by_rule = (taken >= 0) & overrides[taken]  # -1 looks at the last rule, and the first half says no
        chosen = np.where(by_rule, len(options) + taken, chosen)
        options += [None if rule.retention is AS_WRITTEN else rule.retention for rule in policy.rules]
    days = required_default(policy)
    default = timedelta(days=days) if days else None
    in_force = [default if option is None else option for option in options]
    flags = np.array([_is_never(option) for option in in_force], dtype=np.bool_)
    spans = np.array([_span_us(option) for option in in_force], dtype=np.int64)

    never, span, at_us = flags[chosen], spans[chosen], columns.at_us[columns.write]
    has_expiry = span != NO_EXPIRY
    expires = np.where(has_expiry, at_us + np.where(has_expiry, span, 0), NO_EXPIRY)
    beyond = np.flatnonzero(has_expiry & (expires > _LAST_US))
    if len(beyond):
        raise ValueError(
            f"retention={in_force[chosen[beyond[0]]]!r} ends after the year 9999; use NEVER_EXPIRE to keep a key for "
            f"good (events[{columns.write[beyond[0]]}])"
        )
    return expires, never


def _is_never(retention: Passed) -> bool:
    # timedelta.max is what released Airflow's NEVER_EXPIRE is.
    return retention is NEVER_EXPIRE or retention == timedelta.max


def _span_us(retention: Passed) -> int:
    if retention is None or retention is NEVER_EXPIRE or _is_never(retention):
        return NO_EXPIRY
    # A longer one does not fit; it ends after the year 9999 all the same.
    return min(as_us(retention), 2**60)


def _as_store_rows(columns: EventColumns) -> StoreRows:
    count = len(columns.write)
    return StoreRows(
        updated_us=columns.at_us[columns.write],
        expires_us=np.full(count, NO_EXPIRY, dtype=np.int64),
        value_bytes=columns.value_bytes,
        never=np.zeros(count, dtype=np.int8),
        is_asset=np.zeros(count, dtype=np.bool_),
        is_reference=np.zeros(count, dtype=np.bool_),
        dag_id=columns.dag_id,
        task_id=columns.task_id,
        key=columns.key,
        task_state=Labels(np.zeros(count, dtype=np.int32), pa.array(["running"])),
        row=np.arange(count, dtype=np.int64),
    )
