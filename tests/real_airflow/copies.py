"""Copies of a database that Airflow migrated, for tests that compare two hands on the same rows; and what is in them.

Read by drivers alone: this side is the oracle, and imports nothing of storekit.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

__all__ = ["copied_rows", "copied_sqlite", "like_airflows", "postgres_copies", "tables_of"]


def copied_sqlite(source: Path, copy: Path) -> str:
    """Copy a SQLite database, its journal included, and return the copy's URL."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(copy)) as other:
        one.backup(other)
    return f"sqlite:///{copy}"


@contextmanager
def postgres_copies(url: str) -> Iterator[Callable[[], str]]:
    """Yield a function that makes another database like ``url``'s, to which nobody is connected, and returns its URL.

    The copies are dropped at the end.
    """
    source = sa.make_url(url)
    made: list[str] = []
    serial = itertools.count(1)
    engine = sa.create_engine(
        source.set(drivername="postgresql+psycopg", database="postgres"),
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
    )

    def run(statement: str, *names: str | None) -> None:
        with engine.connect() as connection:
            quoted = [engine.dialect.identifier_preparer.quote_identifier(name or "") for name in names]
            connection.exec_driver_sql(statement.format(*quoted))

    def copy() -> str:
        name = f"{source.database}_{next(serial)}"
        run("CREATE DATABASE {} TEMPLATE {}", name, source.database)
        made.append(name)
        return source.set(database=name).render_as_string(hide_password=False)

    try:
        yield copy
    finally:
        for name in made:
            run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def copied_rows(source: str, target: str) -> None:
    """Make the store's rows and their parents in one PostgreSQL database those of another, byte for byte."""
    parents = ["dag_run", "asset", "asset_active"]
    with ExitStack() as stack:
        one, other = (stack.enter_context(like_airflows(url).begin()) for url in (source, target))
        read, write = (each.connection.cursor() for each in (one, other))
        for name in ("task_state_store", "asset_state_store", *reversed(parents)):
            write.execute(f"DELETE FROM {name}")  # noqa: S608 - names from this line
        for name in (*parents, "task_state_store", "asset_state_store"):
            with read.copy(f"COPY {name} TO STDOUT") as rows, write.copy(f"COPY {name} FROM STDIN") as into:
                for row in rows:
                    into.write(row)


def like_airflows(url: str) -> sa.Engine:
    """Return an engine over a database that enforces what Airflow's own does."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(parsed, poolclass=sa.NullPool)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    return engine


def tables_of(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return every column of every row of both tables, by primary key; on SQLite as the texts that are stored."""
    engine = like_airflows(url)
    order = {"task_state_store": "id", "asset_state_store": 'asset_id, "key"'}
    with engine.connect() as connection:
        return {
            name: [
                dict(row)
                for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY {by}").mappings()  # noqa: S608
            ]
            for name, by in order.items()
        }
