"""What a cleanup would delete, as a list that is never held: counted first, then read as it is asked for.

For callers that want ``len(rows)`` and ``for row in rows`` of the same instant, however many rows there are.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select
from sqlalchemy.engine import Dialect

from storekit.errors import QueryError
from storekit.metastore.deletions import count_expired_rows, expired
from storekit.metastore.engines import Database
from storekit.metastore.layouts import Layout

__all__ = ["ExpiredKey", "ExpiredRows", "expired_keys"]

_CHUNK_ROWS = 1_000


class ExpiredKey(NamedTuple):
    """What Airflow's dry run tells of a row; ``map_index`` is the ``region_index`` of 3.4."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str


def expired_keys(layout: Layout, dialect: Dialect, now: datetime) -> Select[Any]:
    """Select the columns of `ExpiredKey` of the rows that have expired, by natural key as the database orders texts."""
    columns = layout.task_store.c
    told = [columns[name] for name in ExpiredKey._fields]
    # Regions are not told, but without them the order of two rows that differ by nothing else would be chance.
    order = [*told[:4], *([columns.region_id] if layout.has_regions else []), columns.key]
    return select(*told).where(expired(layout, dialect, now)).order_by(*order)


class ExpiredRows:
    """The rows that a cleanup at ``now`` would delete: sized, true unless empty, and iterable once.

    The count and the rows are of one instant, that of the making: a reading transaction holds it. A bounded number of
    rows is in memory at once. The connection goes back when the last row was read, when there is none, when an
    iteration is left, on `close`, or when the object is dropped.

    Parameters
    ----------
    database
        Read from, not written to.
    now
        The instant of the cleanup, aware.

    Raises
    ------
    ConnectError
        If the database cannot be read; also from the iteration.
    LayoutError
        If it holds no state store.
    """

    def __init__(self, database: Database, now: datetime) -> None:
        self._database = database
        # Not a method of self: what closes must not keep alive.
        stack = ExitStack()
        try:
            with database.errors():
                self._connection = _reading(database, stack)
                layout, dialect = database.layout_on(self._connection), self._connection.dialect
                self._rows = expired_keys(layout, dialect, now)
                self._count = self._connection.scalar(count_expired_rows(layout, dialect, now)) or 0
        except BaseException:
            stack.close()
            raise
        self._closer = weakref.finalize(self, stack.close)
        self._iterated = False
        if not self._count:
            self.close()

    def __repr__(self) -> str:
        return f"ExpiredRows({self._count} of {self._database.description})"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ExpiredKey]:
        if not self._count:
            return iter(())
        if self._iterated or not self._closer.alive:
            raise QueryError("these rows were read or closed: they are not kept", hint="ask for the summary again")
        self._iterated = True
        return self._read()

    def close(self) -> None:
        """Give the connection back; the count stays."""
        with self._database.errors():
            self._closer()

    def _read(self) -> Iterator[ExpiredKey]:
        # The generator holds self, so that `for row in ExpiredRows(...)` lasts as long as the loop.
        with self._database.errors(), closing(self):
            result = self._connection.execute(self._rows, execution_options={"yield_per": _CHUNK_ROWS})
            # PyMySQL complains of a transaction that ends while rows are still coming.
            with closing(result):
                for part in result.partitions():
                    yield from (ExpiredKey(*row) for row in part)


def _reading(database: Database, stack: ExitStack) -> Connection:
    """Open a transaction in which all statements see one instant, that of the first."""
    family = database.url.family
    connection = stack.enter_context(database.engine.connect())
    if family == "postgresql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    elif family == "mysql":
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
    stack.enter_context(connection.begin())
    if family == "sqlite":
        connection.exec_driver_sql("BEGIN")  # Python's driver begins none for a SELECT
    return connection
