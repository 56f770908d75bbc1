"""Task rows as Python objects, a bounded number at a time: for what compares them with a plan or an archive."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select

from storekit.errors import ConnectError
from storekit.metastore.deletions import TaskKey

__all__ = ["StoredTask", "read_rows"]


@dataclass(frozen=True, slots=True)
class StoredTask:
    """One row of the task store, as it stands.

    Parameters
    ----------
    id
        Its primary key: it tells the row only as long as a transaction holds it, since ids are reused.
    key
        What names it.
    value
        The stored text; None where it was not asked for.
    value_bytes
        Its size in bytes.
    updated_at, expires_at
        Aware, in UTC; ``expires_at`` is None where there is none.
    has_expired
        Whether cleanup would take it, where that was asked.
    """

    id: int
    key: TaskKey
    value: str | None
    value_bytes: int
    updated_at: datetime
    expires_at: datetime | None
    has_expired: bool


def read_rows(connection: Connection, query: Select[Any]) -> list[StoredTask]:
    """Run a query of `storekit.metastore.deletions` that selects whole rows.

    Raises
    ------
    ConnectError
        If a cell of a SQLite database is no instant.
    """
    try:
        return [_stored(row) for row in connection.execute(query) if row.id is not None]
    except ValueError as error:
        raise ConnectError(
            f"a row holds what is no instant ({error})", hint="storekit tables names it; correct it, or delete the row"
        ) from None


def _stored(row: Any) -> StoredTask:
    region = str(row.region_id) if isinstance(row.region_id, uuid.UUID) else None
    return StoredTask(
        id=row.id,
        key=TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index, region, row.key),
        value=row.value,
        value_bytes=row.value_bytes,
        updated_at=row.updated_at,
        expires_at=row.expires_at,
        has_expired=bool(row.has_expired),
    )
