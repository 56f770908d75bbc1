"""Deleting what has expired, in batches that never hold a list of ids.

The batches divide the primary key; the predicate is repeated in each DELETE, so a row refreshed at any instant
before its own DELETE lives on.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from storekit.errors import CleanupStoppedError, StorekitError
from storekit.metastore import statements
from storekit.metastore.engines import Database
from storekit.metastore.layouts import Layout

__all__ = ["delete_expired_rows"]


def delete_expired_rows(database: Database, *, now: datetime, batch_size: int) -> int:
    """Delete the task rows with ``expires_at < now`` and return how many went.

    Parameters
    ----------
    database
        Open for writing.
    now
        The instant of the cleanup, aware.
    batch_size
        Rows per transaction; 0: all in one statement.

    Raises
    ------
    CleanupStoppedError
        If a batch fails after others were committed; it says how many rows those deleted.
    ConnectError, WriteError
        If the first batch fails: nothing is deleted.
    """
    if batch_size < 0:
        raise ValueError(f"batch_size must be 0 (one statement) or more, got {batch_size}")
    layout = database.layout
    deleted = 0
    after: int | None = None
    while True:
        try:
            with database.errors(), database.engine.begin() as connection:
                gone, after = _delete_batch(connection, layout, now, after, batch_size)
        except StorekitError as error:
            if not deleted:
                raise
            raise CleanupStoppedError(
                f"{error.message}; the {deleted} rows of earlier batches are deleted",
                deleted=deleted,
                hint="run it again: it goes on with what is left",
            ) from None
        deleted += gone
        if after is None:
            return deleted


def _delete_batch(
    connection: Connection, layout: Layout, now: datetime, after: int | None, batch_size: int
) -> tuple[int, int | None]:
    """Return how many rows went, and the id after which the next batch begins; None: this was the last."""
    dialect, up_to = connection.dialect, None
    if batch_size:
        bound = statements.keyset_bound(layout, dialect, now, after=after, batch_size=batch_size)
        up_to = connection.scalar(bound)
    deletion = statements.delete_expired(layout, dialect, now, after=after, up_to=up_to)
    return connection.execute(deletion).rowcount, up_to
