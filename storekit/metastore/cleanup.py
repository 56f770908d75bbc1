"""Deleting what has expired, in batches that never hold more than a part of the rows.

Each batch is one transaction. The batches divide the primary key, and the predicate is repeated in each DELETE: a
row refreshed at any instant before its own DELETE lives on. With a sink, the rows of a batch are handed to it,
locked, and are safe there before the batch commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from storekit.errors import CleanupStoppedError, StorekitError
from storekit.metastore import deletions
from storekit.metastore.engines import Database
from storekit.metastore.transactions import ChangedMeanwhileError, Within, in_transaction

__all__ = ["Batch", "Sink", "SinkPart", "count_expired", "delete_expired", "delete_expired_rows"]

T = TypeVar("T")

CHUNK_ROWS = 1_000
"""Rows with their values in memory at once, where they are archived."""


class SinkPart(Protocol):
    """Where the rows of one batch go before they are deleted."""

    def write(self, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Take rows that are about to be deleted, in wire form (`storekit.metastore.scans.scan_tasks`)."""

    def seal(self) -> None:
        """Return once the rows are safe, whatever happens next."""

    def discard(self) -> None:
        """Forget the rows: they were not deleted. Sealed or not; never raises."""


class Sink(Protocol):
    """What takes the rows that are deleted: a part for each batch."""

    def begin(self) -> SinkPart:
        """Open the part of the next batch."""


@dataclass(frozen=True)
class Batch:
    """What one committed transaction did.

    Parameters
    ----------
    deleted, deleted_bytes
        Rows that went, and the size of their values in bytes.
    elapsed
        From its start to its commit, repeated attempts included.
    """

    deleted: int
    deleted_bytes: int
    elapsed: timedelta


def count_expired(database: Database, now: datetime) -> tuple[int, int]:
    """Return how many rows have expired by ``now``, and the size of their values in bytes."""
    dialect = database.engine.dialect
    counted = deletions.count_expired(database.layout, dialect, now)
    rows, size = database.run(lambda connection: connection.execute(counted).one())
    return int(rows), int(size)


def delete_expired(
    database: Database,
    *,
    now: datetime,
    batch_size: int,
    sink: Sink | None = None,
    within: Within = nullcontext,
) -> Iterator[Batch]:
    """Delete the task rows with ``expires_at < now``, a batch at each step of the iterator.

    Stop asking, and nothing more is deleted: between two steps no transaction is open.

    Parameters
    ----------
    database
        Open for writing.
    now
        The instant of the cleanup, aware.
    batch_size
        Rows per transaction; 0: all in one statement.
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
        raise ValueError(f"batch_size must be 0 (one statement) or more, got {batch_size}")
    step = _Step(database, now, batch_size, sink, within)
    return step.batches()


def delete_expired_rows(database: Database, *, now: datetime, batch_size: int) -> int:
    """Delete all that `delete_expired` does and return how many rows went.

    Raises
    ------
    CleanupStoppedError
        If a batch fails after others were committed; it says how many rows those deleted.
    ConnectError, WriteError
        If the first batch fails: nothing is deleted.
    """
    deleted = 0
    try:
        for batch in delete_expired(database, now=now, batch_size=batch_size):
            deleted += batch.deleted
    except StorekitError as error:
        if not deleted:
            raise
        raise CleanupStoppedError(
            f"{error.message}; the {deleted} rows of earlier batches are deleted",
            deleted=deleted,
            hint="run it again: it goes on with what is left",
        ) from None
    return deleted


def timed(database: Database, work: Callable[[Connection], T], within: Within) -> tuple[T, timedelta]:
    """Run ``work`` as `in_transaction` does, and tell how long it took."""
    started = time.perf_counter()
    done = in_transaction(database, work, within=within)
    return done, timedelta(seconds=time.perf_counter() - started)


@contextmanager
def part_of(sink: Sink) -> Iterator[SinkPart]:
    """Open a part for one attempt at a batch; if the attempt fails before its commit, the part is discarded.

    A COMMIT that fails comes later, and leaves the part: the rows may be gone by then.
    """
    part = sink.begin()
    try:
        yield part
        part.seal()
    except BaseException:
        with suppress(Exception):
            part.discard()
        raise


class _Step:
    def __init__(self, database: Database, now: datetime, batch_size: int, sink: Sink | None, within: Within) -> None:
        self.database, self.now, self.batch_size, self.sink, self.within = database, now, batch_size, sink, within
        self.layout, self.dialect = database.layout, database.engine.dialect
        self.after: int | None = None
        self.told_by_the_deed = False

    def batches(self) -> Iterator[Batch]:
        sink = self.sink
        work = self._delete if sink is None else partial(self._archive_and_delete, sink)
        while True:
            # `after` moves only once the batch is committed, so that a repeated attempt starts where the first did.
            (deleted, size, self.after), elapsed = timed(self.database, work, self.within)
            yield Batch(deleted, size, elapsed)
            if self.after is None:
                return

    def _delete(self, connection: Connection) -> tuple[int, int, int | None]:
        """Return rows and bytes that went, and the id after which the next batch begins; None: this was the last."""
        if self.told_by_the_deed or self.dialect.name in {"mysql", "mariadb"}:
            return self._delete_and_tell(connection)
        # Measured, then deleted: cheaper than having the DELETE tell. On SQLite nobody writes between the two. On
        # PostgreSQL somebody may; where the counts differ, the batch is done again by a DELETE that tells.
        self.told_by_the_deed = self.dialect.name == "postgresql"
        batch = deletions.measure_batch(
            self.layout, self.dialect, self.now, after=self.after, batch_size=self.batch_size
        )
        rows, size, last = connection.execute(batch).one()
        # What is left fits into this batch: then the index on expires_at serves the DELETE better than a range of ids.
        up_to = last if rows == self.batch_size else None
        if rows:
            self._delete_as_many(connection, rows, up_to)
        self.told_by_the_deed = False
        return int(rows), int(size), up_to

    def _delete_and_tell(self, connection: Connection) -> tuple[int, int, int | None]:
        up_to: int | None = None
        if self.batch_size:
            up_to = connection.scalar(
                deletions.keyset_bound(
                    self.layout, self.dialect, self.now, after=self.after, batch_size=self.batch_size
                )
            )
        bounds = (self.layout, self.dialect, self.now)
        if self.dialect.name == "postgresql":
            deletion = deletions.delete_expired_telling_sizes(*bounds, after=self.after, up_to=up_to)
            rows, size = connection.execute(deletion).one()
        else:
            rows, size = connection.execute(deletions.measure_expired(*bounds, after=self.after, up_to=up_to)).one()
            self._delete_as_many(connection, rows, up_to)
        self.told_by_the_deed = False
        return int(rows), int(size), up_to

    def _delete_as_many(self, connection: Connection, rows: int, up_to: int | None) -> None:
        """Delete up to an id what has expired; that it is what was seen before, the count says."""
        deletion = deletions.delete_expired(self.layout, self.dialect, self.now, after=self.after, up_to=up_to)
        _same(connection.execute(deletion).rowcount, rows)

    def _archive_and_delete(self, sink: Sink, connection: Connection) -> tuple[int, int, int | None]:
        after, deleted, size = self.after, 0, 0
        with part_of(sink) as part:
            while not self.batch_size or deleted < self.batch_size:
                limit = min(CHUNK_ROWS, self.batch_size - deleted) if self.batch_size else CHUNK_ROWS
                query = deletions.expired_rows(self.layout, self.dialect, self.now, after=after, limit=limit)
                result = connection.execute(query)
                *names, _ = result.keys()
                rows = result.all()
                if not rows:
                    return deleted, size, None
                part.write(names, [row[:-1] for row in rows])
                up_to = rows[-1][-1]
                deletion = deletions.delete_expired(self.layout, self.dialect, self.now, after=after, up_to=up_to)
                _same(connection.execute(deletion).rowcount, len(rows))
                after, deleted, size = up_to, deleted + len(rows), size + sum(row.value_bytes for row in rows)
        return deleted, size, after


def _same(deleted: int, locked: int) -> None:
    # Rows that were written expired, in the range of a batch, after its rows were locked.
    if deleted != locked:
        raise ChangedMeanwhileError(f"{locked} rows were locked, {deleted} deleted")
