"""Whole tables, streamed: the statement, and how it is best run on this database.

This module decides; it does not read. What reads (``storekit.frames``) takes a `Plan` apart and knows nothing of
SQLAlchemy.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Select
from sqlalchemy.sql.expression import CompoundSelect

from storekit.metastore.engines import Database
from storekit.metastore.scans import compile_for_driver

__all__ = ["Driver", "ReadingPlan", "plan_reading"]

Driver = Literal["adbc-sqlite", "adbc-postgresql", "connectorx", "cursor"]
_CHUNK_ROWS = 8192


@dataclass(frozen=True, repr=False)
class ReadingPlan:
    """One statement, and the driver that runs it.

    Parameters
    ----------
    driver
        The fastest that can reach this database.
    sql, parameters
        The statement as that driver takes it.
    uri
        Where; it may hold a password.
    path, immutable
        The file, for ``adbc-sqlite``.
    names
        The statement's columns.
    open_rows
        Runs the statement over SQLAlchemy, for ``cursor``.
    """

    driver: Driver
    sql: str
    parameters: tuple[Any, ...]
    uri: str
    path: Path | None
    immutable: bool
    names: tuple[str, ...]
    open_rows: Callable[[str, tuple[Any, ...]], AbstractContextManager[Iterable[Sequence[tuple[Any, ...]]]]]

    def __repr__(self) -> str:
        return f"ReadingPlan({self.driver})"


def plan_reading(database: Database, statement: Select[Any] | CompoundSelect[Any]) -> ReadingPlan:
    """Return how ``statement`` is read from ``database``."""

    @contextmanager
    def open_rows(_sql: str, _parameters: tuple[Any, ...]) -> Iterator[Iterable[Sequence[tuple[Any, ...]]]]:
        with database.errors(), database.engine.connect() as connection:
            result = connection.execution_options(stream_results=True, yield_per=_CHUNK_ROWS).execute(statement)
            yield ([tuple(row) for row in part] for part in result.partitions())

    driver = _driver_for(database)
    compiled = None if driver == "cursor" else compile_for_driver(statement, database.engine.dialect)
    return ReadingPlan(
        driver=driver,
        sql=compiled.sql if compiled else "",
        parameters=compiled.parameters if compiled else (),
        uri=database.url.native_uri(),
        path=database.url.sqlite_path,
        immutable=database.immutable,
        names=tuple(column.name for column in statement.selected_columns),
        open_rows=open_rows,
    )


def _driver_for(database: Database) -> Driver:
    url = database.url
    if url.family == "sqlite":
        # A database in memory is reachable through its own connection only; a file that this process has open
        # must not be opened by a second SQLite library.
        return "cursor" if url.in_memory or database.opened_here() else "adbc-sqlite"
    if url.family == "postgresql":
        return "adbc-postgresql" if _installed("adbc_driver_postgresql") else "cursor"
    # Options in a MySQL URL (sockets, TLS) are SQLAlchemy's; connectorx spells them otherwise, or lacks them.
    plain = url.url.host is not None and not url.url.query
    return "connectorx" if plain and _installed("connectorx") else "cursor"


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
