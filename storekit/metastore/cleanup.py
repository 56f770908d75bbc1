"""Deleting what has expired, in batches that never hold more than a part of the rows.

Each batch is one transaction. The batches divide the primary key, and the predicate is repeated in each DELETE: a
row refreshed at any instant before its own DELETE lives on. With a sink, the rows of a batch are handed to it,
locked, and are safe there before the batch commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from storekit.errors import CleanupStoppedError, ReadOnlyError, StorekitError
from storekit.metastore import deletions
from storekit.metastore.engines import READ_ONLY, Database
from storekit.metastore.transactions import ChangedMeanwhileError, Within, in_transaction

__all__ = ["Batch", "Sink", "SinkPart", "count_expired", "count_expired_rows", "delete_expired", "delete_expired_rows"]

T = TypeVar("T")

CHUNK_ROWS = 1_000
"""Rows with their values in memory at once, where they are archived."""

CHUNK_BYTES = 16_000_000
"""Size of those values in bytes, unless one alone is larger."""


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


def count_expired_rows(database: Database, now: datetime) -> int:
    """Return how many rows have expired by ``now``, without a look at their values."""
    counted = deletions.count_expired_rows(database.layout, database.engine.dialect, now)
    return database.run(lambda connection: connection.scalar(counted) or 0)


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
    refuse_reading(database)
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


def timed(database: Database, work: Callable[[Connection], T], within: Within, parts: Parts) -> tuple[T, timedelta]:
    """Run ``work`` as `in_transaction` does, and tell how long it took."""
    started = time.perf_counter()
    done = in_transaction(database, work, within=within, undone=parts.discard)
    return done, timedelta(seconds=time.perf_counter() - started)


class Parts:
    """The parts of a sink, one for each attempt at a batch.

    A part whose attempt was rolled back is discarded, after a COMMIT that failed too. Where the answer to a COMMIT was
    lost it stays: its rows may be gone.
    """

    def __init__(self, sink: Sink | None) -> None:
        self.sink = sink
        self._sealed: SinkPart | None = None

    @contextmanager
    def next(self) -> Iterator[SinkPart | None]:
        """Open a part for one attempt; it is sealed at the end. None where there is no sink."""
        self._sealed = None
        if self.sink is None:
            yield None
            return
        part = self.sink.begin()
        try:
            yield part
            part.seal()
        except BaseException:
            with suppress(Exception):
                part.discard()
            raise
        self._sealed = part

    def discard(self) -> None:
        """Discard the part of the last attempt, if it was sealed."""
        if self._sealed is not None:
            self._sealed.discard()
            self._sealed = None


def refuse_reading(database: Database) -> None:
    """Raise ReadOnlyError where the database was opened for reading: with nothing to delete it would not itself."""
    if database.access == READ_ONLY:
        raise ReadOnlyError(
            f"{database.description} is open for reading only", hint="open it with writable=True, or as another user"
        )


class _Step:
    def __init__(self, database: Database, now: datetime, batch_size: int, sink: Sink | None, within: Within) -> None:
        self.database, self.now, self.batch_size, self.within = database, now, batch_size, within
        self.parts = Parts(sink)
        self.layout, self.dialect = database.layout, database.engine.dialect
        self.after: int | None = None
        self.exactly = False

    def batches(self) -> Iterator[Batch]:
        work = self._delete if self.parts.sink is None else self._archive_and_delete
        while True:
            # `after` moves only once the batch is committed, so that a repeated attempt starts where the first did.
            (deleted, size, self.after), elapsed = timed(self.database, work, self.within, self.parts)
            yield Batch(deleted, size, elapsed)
            if self.after is None:
                return

    def _delete(self, connection: Connection) -> tuple[int, int, int | None]:
        """Return rows and bytes that went, and the id after which the next batch begins; None: this was the last."""
        if self.dialect.name != "sqlite" and (self.exactly or self.dialect.name != "postgresql"):
            return self._delete_and_tell(connection)
        # Measured roughly, then deleted: cheaper than having the DELETE tell. What the rough measure takes too much,
        # or somebody wrote between, the counts tell; then this batch and all after it are measured exactly.
        roughly, self.exactly = not self.exactly, True
        batch = deletions.measure_batch(
            self.layout, self.dialect, self.now, after=self.after, batch_size=self.batch_size, roughly=roughly
        )
        rows, size, last = connection.execute(batch).one()
        # What is left fits into this batch: then the index on expires_at serves the DELETE better than a range of ids.
        up_to = last if rows == self.batch_size else None
        if rows:
            self._delete_as_many(connection, rows, up_to)
        self.exactly = not roughly
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
        return int(rows), int(size), up_to

    def _delete_as_many(self, connection: Connection, rows: int, up_to: int | None) -> None:
        """Delete up to an id what has expired; that it is what was seen before, the count says."""
        deletion = deletions.delete_expired(self.layout, self.dialect, self.now, after=self.after, up_to=up_to)
        _same(connection.execute(deletion).rowcount, rows)

    def _archive_and_delete(self, connection: Connection) -> tuple[int, int, int | None]:
        after, deleted, size = self.after, 0, 0
        with self.parts.next() as part:
            while part is not None and (not self.batch_size or deleted < self.batch_size):
                limit = min(CHUNK_ROWS, self.batch_size - deleted) if self.batch_size else CHUNK_ROWS
                query = deletions.lock_expired(self.layout, self.dialect, self.now, after=after, limit=limit)
                # Their sizes first: a thousand values may be sixteen gigabytes.
                sizes = [(int(row[0]), int(row[1])) for row in connection.execute(query)]
                chunk = next(by_bytes(sizes), [])
                if not chunk:
                    return deleted, size, None
                up_to = chunk[-1][0]
                bounds = (self.layout, self.dialect, self.now)
                result = connection.execute(deletions.expired_rows(*bounds, after=after, up_to=up_to))
                part.write(list(result.keys()), [tuple(row) for row in result])
                deletion = deletions.delete_expired(*bounds, after=after, up_to=up_to)
                _same(connection.execute(deletion).rowcount, len(chunk))
                after, deleted, size = up_to, deleted + len(chunk), size + sum(octets for _, octets in chunk)
        return deleted, size, after


def by_bytes(rows: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Cut rows, each (id, bytes), into groups that may be in memory with their values; a row at least in each."""
    group: list[tuple[int, int]] = []
    total = 0
    for row in rows:
        if group and total + row[1] > CHUNK_BYTES:
            yield group
            group, total = [], 0
        group.append(row)
        total += row[1]
    if group:
        yield group


def _same(deleted: int, locked: int) -> None:
    # Rows that were written expired, in the range of a batch, after its rows were locked.
    if deleted != locked:
        raise ChangedMeanwhileError(f"{locked} rows were locked, {deleted} deleted")
