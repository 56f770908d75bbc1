"""Deleting what a plan names: each row only if it still is what was planned.

A row is known by its natural key, and is what was planned if ``updated_at`` and ``expires_at`` are: every write
changes the first. What is not is *drift*, told and left alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import NamedTuple

from sqlalchemy import Connection

from storekit.metastore import deletions
from storekit.metastore.cleanup import Parts, Sink, SinkPart, by_bytes, refuse_reading, timed
from storekit.metastore.deletions import TaskKey
from storekit.metastore.engines import Database
from storekit.metastore.rows import StoredTask, read_rows
from storekit.metastore.transactions import ChangedMeanwhileError, Within

__all__ = ["Drift", "DriftKind", "PlannedBatch", "PlannedRow", "ReadPlan", "check_planned", "delete_planned"]

CHUNK_KEYS = 400
"""Keys in one statement: SQLite takes at most 32,766 parameters, and servers plan a longer list badly."""


class PlannedRow(NamedTuple):
    """A row as the plan shows it; instants are aware, in UTC."""

    key: TaskKey
    updated_at: datetime
    expires_at: datetime


class DriftKind(enum.StrEnum):
    """Why a planned row is not deleted. Append-only: reports carry these texts."""

    GONE = "gone"
    """It is not there any more."""
    REFRESHED = "refreshed"
    """It was written again since."""
    NOT_YET = "not-yet-expired"
    """It is as it was, and its expiry has not come: the plan looked ahead."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A planned row that is not deleted, and what it is now (None where it is gone)."""

    kind: DriftKind
    planned: PlannedRow
    present: StoredTask | None


@dataclass
class PlannedBatch:
    """What one committed transaction did, or a look would do; see `storekit.metastore.cleanup.Batch`."""

    deleted: int = 0
    deleted_bytes: int = 0
    drifted: list[Drift] = field(default_factory=list)
    elapsed: timedelta = timedelta(0)


ReadPlan = Callable[[], Iterator[PlannedRow]]
"""Reads the plan from its start, as often as it is called."""


def delete_planned(
    database: Database,
    read_plan: ReadPlan,
    *,
    now: datetime,
    batch_size: int,
    sink: Sink | None = None,
    within: Within = nullcontext,
) -> Iterator[PlannedBatch]:
    """Delete the planned rows that still are what was planned, a batch at each step.

    Parameters
    ----------
    database
        Open for writing.
    read_plan
        The plan's rows.
    now
        The instant of the cleanup, aware; a row that has not expired by it is kept.
    batch_size
        Planned rows per transaction; 0: all in one.
    sink
        Takes the rows of a batch before it commits.
    within
        See `storekit.metastore.transactions.Within`.

    Raises
    ------
    ValueError
        For a negative ``batch_size``.
    ConnectError, WriteError
        If a batch fails, also after it was tried again; it deletes nothing, and those before it stay done.
    """
    if batch_size < 0:
        raise ValueError(f"batch_size must be 0 (one transaction) or more, got {batch_size}")
    refuse_reading(database)
    rows, parts = read_plan(), Parts(sink)
    while True:
        # A batch that fails is read again: from the list, or where it is everything, from the start of the plan.
        batch = list(islice(rows, batch_size)) if batch_size else None
        if batch is not None and not batch:
            return
        again: ReadPlan = read_plan if batch is None else batch.__iter__

        def work(connection: Connection, again: ReadPlan = again) -> PlannedBatch:
            with parts.next() as part:
                return _delete(connection, database, again(), now, part)

        done, elapsed = timed(database, work, within, parts)
        yield replace(done, elapsed=elapsed)
        if batch is None:
            return


def check_planned(database: Database, read_plan: ReadPlan, *, now: datetime) -> Iterator[PlannedBatch]:
    """Say what `delete_planned` would do, and delete nothing; each step is a look of its own."""
    for keys in _chunks(read_plan()):
        yield database.run(lambda connection, keys=keys: _judge(connection, database, keys, now)[0])  # type: ignore[misc]


def _delete(
    connection: Connection, database: Database, rows: Iterator[PlannedRow], now: datetime, part: SinkPart | None
) -> PlannedBatch:
    done = PlannedBatch()
    for planned in _chunks(rows):
        judged, doomed = _judge(connection, database, planned, now, lock=True)
        done.deleted += judged.deleted
        done.deleted_bytes += judged.deleted_bytes
        done.drifted += judged.drifted
        if not doomed:
            continue
        ids = [row.id for row in doomed]
        if part is not None:
            for group in by_bytes((row.id, row.value_bytes) for row in doomed):
                held = [row_id for row_id, _ in group]
                result = connection.execute(deletions.wire_rows(database.layout, connection.dialect, held))
                part.write(list(result.keys()), [tuple(row) for row in result])
        deletion = deletions.delete_locked(database.layout, connection.dialect, now, ids)
        gone = connection.execute(deletion).rowcount
        if gone != len(ids):
            raise ChangedMeanwhileError(f"{len(ids)} rows were locked, {gone} deleted")
    return done


def _judge(
    connection: Connection,
    database: Database,
    planned: Sequence[PlannedRow],
    now: datetime,
    *,
    lock: bool = False,
) -> tuple[PlannedBatch, list[StoredTask]]:
    """Return what is to be done with a chunk, and the rows to delete."""
    query = deletions.rows_of_keys(
        database.layout, connection.dialect, [row.key for row in planned], now=now, lock=lock
    )
    fold = deletions.folded(database.layout, connection.dialect)
    present = {fold(row.key): row for row in read_rows(connection, query)}
    judged, doomed = PlannedBatch(), []
    for row in planned:
        found = present.get(fold(row.key))
        kind = _drift(row, found, now)
        if kind is not None:
            judged.drifted.append(Drift(kind, row, found))
        elif found is not None:
            judged.deleted += 1
            judged.deleted_bytes += found.value_bytes
            doomed.append(found)
    return judged, doomed


def _drift(row: PlannedRow, found: StoredTask | None, now: datetime) -> DriftKind | None:
    if found is None:
        return DriftKind.GONE
    if (found.updated_at, found.expires_at) != (row.updated_at, row.expires_at):
        return DriftKind.REFRESHED
    if row.expires_at >= now:
        return DriftKind.NOT_YET
    # As it was read, and yet not what the predicate takes: a text of another spelling on SQLite.
    return None if found.has_expired else DriftKind.REFRESHED


def _chunks(rows: Iterator[PlannedRow]) -> Iterator[list[PlannedRow]]:
    for first in rows:
        yield list(chain([first], islice(rows, CHUNK_KEYS - 1)))
