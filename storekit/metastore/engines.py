"""Engines: how a database is opened, for reading or writing, blocking or awaited, and how its errors read.

Reading is enforced by the database, not by good behaviour: SQLite's ``mode=ro``, read-only transactions on
PostgreSQL and MySQL.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import uuid
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from storekit.errors import ConnectError, StorekitError
from storekit.metastore.failures import translated
from storekit.metastore.layouts import Layout, detect_layout, layout_named, require_layout
from storekit.metastore.urls import CREATE, READ_ONLY, READ_WRITE, Access, DatabaseUrl, parse_url

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["CREATE", "READ_ONLY", "READ_WRITE", "Database"]

T = TypeVar("T")

_CONNECT_TIMEOUT_SECONDS = 10
_SQLITE_BUSY_SECONDS = 30


class Database:
    """One database, and what is known of it.

    Parameters
    ----------
    url
        A URL, or the path of a SQLite file.
    access
        ``ro``, ``rw``, or ``rwc`` (the file of a SQLite database may be missing; `create_file` makes it).
    layout
        A layout's name where the database holds more than one; else found by its columns at the first need.
    """

    def __init__(self, url: str | Path | URL | DatabaseUrl, *, access: Access, layout: str | None = None) -> None:
        self.url = url if isinstance(url, DatabaseUrl) else parse_url(url)
        self.access = access
        self.immutable = False
        self._layout = layout_named(layout) if layout is not None else None
        self._lock = threading.Lock()
        self._own_identity = uuid.uuid4().hex
        if access != CREATE:
            self._require_sqlite_file()
        with self.errors():
            try:
                self.engine = self._make_engine()
            except (TypeError, ValueError) as error:
                if isinstance(error, StorekitError):
                    raise
                raise _options_refused(self.description, error) from None
        # A Database that is dropped closes its connections; Python 3.13 warns of those that nobody closed.
        weakref.finalize(self, self.engine.dispose)
        self._async_engine: AsyncEngine | None = None

    @classmethod
    def over(cls, engine: Engine) -> Database:
        """Return a database over an engine that someone else made, and will close."""
        database = cls.__new__(cls)
        database.url, database.access, database.immutable = parse_url(engine.url), READ_WRITE, False
        database.engine, database._async_engine = engine, None
        database._layout, database._lock = None, threading.Lock()
        database._own_identity = uuid.uuid4().hex
        return database

    def __repr__(self) -> str:
        return f"Database({self.description}, {self.access})"

    @property
    def description(self) -> str:
        """The database's name, without credentials."""
        return self.url.describe()

    @property
    def identity(self) -> str:
        """What tells this database from another, as a hash of where it is; one in memory is like no other."""
        return self.url.identity() or self._own_identity

    # --- layout ---

    def layout_on(self, connection: Connection) -> Layout:
        """Return the layout, found on this connection if it is not known yet."""
        if self._layout is None:
            self._layout = detect_layout(connection, where=self.description)
        return self._layout

    def require_layout(self) -> None:
        """Make sure that the layout that was named is there.

        Raises
        ------
        LayoutError
            If it is not; it says which one is.
        """
        if self._layout is not None:
            with self.errors(), self.engine.connect() as connection:
                require_layout(connection, self._layout, where=self.description)

    @property
    def layout(self) -> Layout:
        """The layout, found by a connection of its own if it is not known yet."""
        if self._layout is None:
            with self.errors(), self.engine.connect() as connection:
                return self.layout_on(connection)
        return self._layout

    def forget_layout(self) -> None:
        """Look again at the next need: tables were made."""
        self._layout = None

    # --- work ---

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction of its own."""
        with self.errors(), self.engine.begin() as connection:
            return work(connection)

    async def arun(self, work: Callable[[Connection], T]) -> T:
        """As `run`, awaited. The work itself is the same blocking code, run where its driver may await."""
        if self.url.in_memory:
            # A database in memory belongs to one connection; a second, awaiting one would see another database.
            return await asyncio.to_thread(self.run, work)
        with self.errors():
            async with self.async_engine.begin() as connection:
                return await connection.run_sync(work)

    @property
    def async_engine(self) -> AsyncEngine:
        """The awaiting engine, made at the first need."""
        from sqlalchemy.ext.asyncio import create_async_engine

        with self._lock:
            if self._async_engine is None:
                # No pool: a pooled connection belongs to the event loop that opened it, and a backend may be
                # used from one loop after another (asyncio.run twice is enough).
                self._async_engine = create_async_engine(
                    self.url.async_url(self.access),
                    poolclass=NullPool,
                    hide_parameters=True,
                    connect_args=self._connect_args(),
                )
                self._prepare_sessions(self._async_engine.sync_engine)
            return self._async_engine

    def dispose(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()

    def create_file(self) -> None:
        """Make the file of a SQLite database, if it is missing."""
        path = self.url.sqlite_path
        if path is not None and not path.exists():
            try:
                sqlite3.connect(path).close()
            except sqlite3.Error as error:
                raise ConnectError(
                    f"{path} cannot be made ({error})", hint="choose a folder that exists and can be written"
                ) from None

    def opened_here(self) -> bool:
        """Whether this process has this SQLite file open already.

        POSIX file locks belong to the process: a second SQLite library in it (ADBC brings its own) drops the first
        one's locks when it closes the file (sqlite.org/howtocorrupt.html, 2.2.1), and another process's committed
        write can be lost. Then only the first library may read. What opens the file after this look is not seen.
        """
        path = self.url.sqlite_path
        if path is None or sys.platform == "win32":  # there, locks belong to the handle
            return False
        try:
            wanted = path.stat()
            descriptors = list(Path("/dev/fd").iterdir())
        except OSError:
            return True  # it cannot be known
        for descriptor in descriptors:
            with suppress(OSError, ValueError):
                if os.path.samestat(os.fstat(int(descriptor.name)), wanted):
                    return True
        return False

    # --- opening ---

    def _make_engine(self) -> Engine:
        engine = self._engine_for(immutable=False)
        if self.url.sqlite_path is not None and self.access == READ_ONLY:
            engine = self._readable_sqlite(engine)
        return engine

    def _engine_for(self, *, immutable: bool) -> Engine:
        pool: dict[str, Any] = {"poolclass": QueuePool, "pool_pre_ping": self.url.family != "sqlite"}
        if self.url.sqlite_path is not None and self.access == READ_ONLY:
            # An idle connection would keep the file open, and the fast route shut (`opened_here`).
            pool["poolclass"] = NullPool
        if self.url.in_memory:
            # One connection, lent to one caller at a time: that is what a database in memory is.
            pool |= {"pool_size": 1, "max_overflow": 0, "pool_timeout": _CONNECT_TIMEOUT_SECONDS}
        engine = create_engine(
            self.url.sync_url(self.access, immutable=immutable),
            hide_parameters=True,  # a value in an error message may be a secret
            connect_args=self._connect_args(),
            **pool,
        )
        self._prepare_sessions(engine)
        return engine

    def _connect_args(self) -> dict[str, Any]:
        if self.url.family == "sqlite":
            return {"timeout": self.url.sqlite_timeout or _SQLITE_BUSY_SECONDS, "check_same_thread": False}
        if self.url.family == "postgresql":
            return {} if "connect_timeout" in self.url.url.query else {"connect_timeout": _CONNECT_TIMEOUT_SECONDS}
        return {"connect_timeout": _CONNECT_TIMEOUT_SECONDS, "charset": "utf8mb4"}

    def _prepare_sessions(self, engine: Engine) -> None:
        statements = []
        if self.url.family == "sqlite":
            statements.append("PRAGMA foreign_keys = ON")
        if self.url.family == "mysql":
            # TIMESTAMP columns are converted through the session's zone.
            statements.append("SET time_zone = '+00:00'")
            # A lenient server would cut what does not fit: an expiry after 2038 to 1970, an emoji to "?".
            statements.append("SET SESSION sql_mode = CONCAT_WS(',', @@sql_mode, 'STRICT_ALL_TABLES')")
            if self.access == READ_ONLY:
                statements.append("SET SESSION TRANSACTION READ ONLY")

        read_only_transactions = self.url.family == "postgresql" and self.access == READ_ONLY
        where = self.description  # not self: the engine would keep its Database alive

        @event.listens_for(engine, "do_connect")
        def connect(dialect: Dialect, _record: object, args: Any, options: Any) -> Any:
            try:
                return dialect.connect(*args, **options)
            except (TypeError, OSError) as error:  # what drivers raise of a URL's options, beside their own errors
                raise _options_refused(where, error) from None

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: object) -> None:
            if read_only_transactions:
                # Each transaction says so itself: a pooler may refuse a start-up option, and lends sessions on.
                engine.dialect.set_readonly(connection, True)  # type: ignore[attr-defined]
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            cursor.close()

    def _require_sqlite_file(self) -> None:
        path = self.url.sqlite_path
        if path is None:
            return
        if path.is_dir():
            what, hint = _folder(path)
            raise ConnectError(f"{path} is {what}, not a SQLite file", hint=hint)
        if not path.exists():
            raise ConnectError(f"no such file: {path}", hint="check the path; storekit makes no file to read from")
        if not os.access(path, os.R_OK):
            raise ConnectError(f"{path} cannot be read by this user", hint="ask for read permission")

    def _readable_sqlite(self, engine: Engine) -> Engine:
        # A database in WAL mode needs its -shm file even to be read, and in a folder that cannot be written it
        # cannot be made. Without a -wal file nobody is writing: it may be read as it lies.
        path = self.url.sqlite_path
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
        except OperationalError as error:
            wal = Path(f"{path}-wal")
            unopened = "unable to open" in str(error.orig) or "readonly" in str(error.orig)
            if not unopened or (wal.exists() and wal.stat().st_size > 0):
                raise
            engine.dispose()
            self.immutable = True
            return self._engine_for(immutable=True)
        return engine

    # --- errors ---

    def errors(self) -> AbstractContextManager[None]:
        """Turn what drivers raise into storekit's errors, without parameters and credentials."""
        return translated(self.description, self.url.family)


def _options_refused(where: str, error: Exception) -> ConnectError:
    return ConnectError(
        f"{where} cannot be opened with the options of its URL: {error}",
        hint="check what stands after the question mark",
    )


def _folder(path: Path) -> tuple[str, str]:
    """Return what a folder is that was named for a database, and what to do. Names of files alone: none is read."""
    names = {each.name for each in path.iterdir()} if os.access(path, os.R_OK | os.X_OK) else set()
    if {"snapshot.json", "rows.parquet"} <= names:
        return "a saved snapshot", "name the database itself; open_snapshot(directory) opens a snapshot"
    if "_archive.json" in names or any(name.startswith("part-") and name.endswith(".parquet") for name in names):
        return "an archive of deleted rows", "name the database itself; restore(archive, store) puts rows back"
    return "a folder", "name the .db file inside it"
