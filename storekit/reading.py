"""Statements run by the best route: joins `storekit.metastore`, which plans a reading, and `storekit.frames`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from storekit.frames.cursor import CursorRoute
from storekit.frames.outcomes import Progress
from storekit.frames.routes import (
    MYSQL_BATCH_ROWS,
    SQLITE_BATCH_ROWS,
    AdbcPostgresRoute,
    AdbcSqliteRoute,
    ConnectorxRoute,
    Route,
)
from storekit.metastore.engines import Database
from storekit.metastore.reading import ReadingPlan, plan_reading

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.sql.expression import CompoundSelect

__all__ = ["open_wire", "watched"]


@contextmanager
def open_wire(
    database: Database, statement: Select[Any] | CompoundSelect[Any], batch_rows: int | None = None
) -> Iterator[pa.RecordBatchReader]:
    """Run a statement and give its rows in wire form.

    Planned at each reading: what may read a SQLite file depends on who writes it by then.
    """
    plan = plan_reading(database, statement)
    with _route(plan, database.description, batch_rows).open(plan.sql, plan.parameters) as wire:
        yield wire


def _route(plan: ReadingPlan, where: str, batch_rows: int | None) -> Route:
    if plan.driver == "adbc-sqlite" and plan.path is not None:
        return AdbcSqliteRoute(plan.path, immutable=plan.immutable, batch_rows=batch_rows or SQLITE_BATCH_ROWS)
    if plan.driver == "adbc-postgresql":
        return AdbcPostgresRoute(plan.uri)
    if plan.driver == "connectorx":
        return ConnectorxRoute(plan.uri, batch_rows=batch_rows or MYSQL_BATCH_ROWS)
    return CursorRoute(plan.open_rows, plan.names, where=where, batch_rows=batch_rows)


def watched(reader: pa.RecordBatchReader, progress: Progress, total: int) -> pa.RecordBatchReader:
    """Return the reader, with ``progress`` told of every batch."""

    def batches() -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in reader:
            done += batch.num_rows
            progress(done, total)
            yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, batches())
