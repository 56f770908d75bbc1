"""What happens to a store: writes, successes, run deletions and cleanups, in their order, and the same as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storekit.clock import as_utc
from storekit.retention.rows import Int64s, Labels, as_instant_us, from_us
from storekit.state import NEVER_EXPIRE, NeverExpire, TaskScope, check_key

__all__ = ["CLEANUP", "Cleanup", "DeleteRun", "Event", "EventColumns", "Passed", "Success", "Workload", "Write"]

Passed = timedelta | Literal[NeverExpire.NEVER_EXPIRE] | None
"""What a program passes as ``retention``; None: nothing."""


@dataclass(frozen=True)
class Write:
    """A task writes a key. A task that writes is running: after a success, this is a retry.

    Parameters
    ----------
    at
        When, aware.
    scope, key
        Where.
    value_bytes
        Size of the stored text, at least 1: no JSON is shorter.
    retention
        What the program passed; None: nothing.
    """

    at: datetime
    scope: TaskScope
    key: str
    value_bytes: int = 2
    retention: Passed = None


@dataclass(frozen=True)
class Success:
    """A task instance turns success; its rows go where the policy says ``clear_on_success``.

    One that is success already stays so, and nothing is cleared; only a write makes it running again.
    """

    at: datetime
    scope: TaskScope


@dataclass(frozen=True)
class DeleteRun:
    """A DagRun is deleted, and all its rows with it, NEVER_EXPIRE ones too. A later write finds it made anew."""

    at: datetime
    dag_id: str
    run_id: str


@dataclass(frozen=True)
class Cleanup:
    """One time-based cleanup: rows with ``expires_at`` before ``at``, strictly, go."""

    at: datetime


Event = Write | Success | DeleteRun | Cleanup

WRITE, SUCCESS, DELETE_RUN, CLEANUP = range(4)
_KINDS: dict[type, int] = {Write: WRITE, Success: SUCCESS, DeleteRun: DELETE_RUN, Cleanup: CLEANUP}


@dataclass(frozen=True)
class EventColumns:
    """The events as arrays: instants and kinds for each event, the rest for each write in turn.

    A run, an instance and a cell (one key of one instance) are numbers, the same in every array.
    """

    at_us: Int64s
    kind: npt.NDArray[np.int8]
    write: Int64s  # which event each write is, ascending
    value_bytes: Int64s
    run: Int64s
    instance: Int64s
    cell: Int64s
    dag_id: Labels
    task_id: Labels
    key: Labels
    passed: Int64s
    retentions: tuple[Passed, ...]  # the distinct ones; `passed` points into them
    success: Int64s  # which events they are, and of which instances
    success_instance: Int64s
    deletion: Int64s
    deletion_run: Int64s


@dataclass(frozen=True)
class Workload:
    """What happens to a store that is empty at first.

    Parameters
    ----------
    events
        In the order in which they happen: ``at`` never decreases. Events at one instant happen in list order.
    starts_at
        Aware, not after the first event.

    Raises
    ------
    ValueError
        For an event before the one that it follows, a naive instant, a negative retention, fewer than 1 byte.
    TypeError
        For what is no event, scope, retention or whole number.
    InvalidKeyError, InvalidValueTypeError
        For a key that a store refuses.
    """

    events: tuple[Event, ...]
    starts_at: datetime
    columns: EventColumns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(self.events))
        object.__setattr__(self, "starts_at", as_utc(self.starts_at))
        object.__setattr__(self, "columns", _columns_of(self.events, as_instant_us(self.starts_at)))

    def __len__(self) -> int:
        return len(self.events)


# --- events as arrays ----------------------------------------------------------------------------------------------


def _columns_of(events: tuple[Event, ...], starts_us: int) -> EventColumns:
    kind = _kinds(events)
    at_us = _instants(events, starts_us)
    which = [np.flatnonzero(kind == each) for each in range(4)]
    of_kind: list[list[Any]] = [[events[index] for index in each.tolist()] for each in which]
    writes, successes, deletions, _ = of_kind
    scopes: list[Any] = [each.scope for each in (*writes, *successes)]
    _require(scopes, lambda scope: isinstance(scope, TaskScope), "scope", "a TaskScope", np.concatenate(which[:2]))
    _check_writes(writes, which[WRITE])
    for name in ("dag_id", "run_id"):
        names = [getattr(each, name) for each in deletions]
        _require(names, lambda given: isinstance(given, str) and given != "", name, "a text", which[DELETE_RUN])

    runs: list[Any] = [*scopes, *deletions]
    dag_ids, run_ids = Labels.of([each.dag_id for each in runs]), Labels.of([each.run_id for each in runs])
    task_ids, keys = Labels.of([each.task_id for each in scopes]), Labels.of([each.key for each in writes])
    index = np.fromiter((each.map_index for each in scopes), np.int64, len(scopes))
    run = _numbered(dag_ids.codes, run_ids.codes)
    instance = _numbered(run[: len(scopes)], task_ids.codes, index + 1)
    first = len(writes)
    known: dict[Passed, int] = {}
    passed = np.fromiter((known.setdefault(each.retention, len(known)) for each in writes), np.int64, first)
    return EventColumns(
        at_us=at_us,
        kind=kind,
        write=which[WRITE],
        value_bytes=np.fromiter((each.value_bytes for each in writes), np.int64, first),
        run=run[:first],
        instance=instance[:first],
        cell=_numbered(instance[:first], keys.codes),
        dag_id=Labels(dag_ids.codes[:first], dag_ids.names),
        task_id=Labels(task_ids.codes[:first], task_ids.names),
        key=keys,
        passed=passed,
        retentions=tuple(known),
        success=which[SUCCESS],
        success_instance=instance[first:],
        deletion=which[DELETE_RUN],
        deletion_run=run[len(scopes) :],
    )


def _numbered(*columns: npt.NDArray[Any]) -> Int64s:
    """Return one number for each distinct combination, from 0; the columns hold none below 0."""
    number = columns[0].astype(np.int64)
    for column in columns[1:]:
        number = number * (int(column.max(initial=0)) + 1) + column
        number = np.unique(number, return_inverse=True)[1].astype(np.int64)  # small again, so that none overflows
    return number


def _kinds(events: tuple[Event, ...]) -> npt.NDArray[np.int8]:
    kind = np.fromiter((_KINDS.get(type(each), -1) for each in events), np.int8, len(events))
    unknown = np.flatnonzero(kind < 0)
    if len(unknown):
        found = events[unknown[0]]
        raise TypeError(f"events[{unknown[0]}] is {found!r}, not a Write, a Success, a DeleteRun or a Cleanup")
    return kind


def _instants(events: tuple[Event, ...], starts_us: int) -> Int64s:
    instants = [as_utc(each.at) for each in events]
    at_us: Int64s = pa.array(instants, pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    early = np.flatnonzero(np.diff(at_us, prepend=starts_us) < 0)
    if len(early):
        before = instants[early[0] - 1] if early[0] else from_us(starts_us)
        raise ValueError(
            f"events[{early[0]}] happens at {instants[early[0]].isoformat()}, before what it follows "
            f"({before.isoformat()}); list events in the order in which they happen"
        )
    return at_us


def _check_writes(writes: Sequence[Write], which: npt.NDArray[np.intp]) -> None:
    for key in {each.key for each in writes}:
        check_key(key)
    sizes, retentions = [each.value_bytes for each in writes], [each.retention for each in writes]
    _require(sizes, lambda size: type(size) is int, "value_bytes", "a whole number", which)
    _require(retentions, _is_retention, "retention", "a timedelta, NEVER_EXPIRE or None", which)
    if min(sizes, default=math.inf) < 1:
        at = next(index for index, size in enumerate(sizes) if size < 1)
        raise ValueError(f"events[{which[at]}].value_bytes={sizes[at]}: no stored JSON is shorter than 1 byte")
    for at, retention in enumerate(retentions):
        if isinstance(retention, timedelta) and retention < timedelta(0):
            raise ValueError(f"events[{which[at]}].retention={retention!r} is negative")


def _is_retention(given: Any) -> bool:
    return given is None or given is NEVER_EXPIRE or isinstance(given, timedelta)


def _require(
    given: Iterable[Any], fits: Callable[[Any], bool], name: str, what: str, which: npt.NDArray[np.intp]
) -> None:
    for at, each in enumerate(given):
        if not fits(each):
            raise TypeError(f"events[{which[at]}].{name} must be {what}, got {each!r}")
