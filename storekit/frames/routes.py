"""How wire rows come out of a database: as Arrow record batches, streamed, read-only.

A route gets a statement as text, with its parameters in order, and knows nothing of what the columns mean
(`storekit.frames.wire` does). The fast routes never make a Python object of a cell; `CursorRoute` does, for what
they cannot reach: a database in this process's memory, or one whose fast driver is not installed.

Every error of a driver becomes a `ConnectError` whose text holds no part of a password.
"""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pyarrow as pa

from storekit.errors import ConnectError, MissingDriverError
from storekit.frames.redaction import Redaction, essence

__all__ = [
    "MYSQL_BATCH_ROWS",
    "SQLITE_BATCH_ROWS",
    "AdbcPostgresRoute",
    "AdbcSqliteRoute",
    "ConnectorxRoute",
    "Route",
    "guarded",
]

SQLITE_BATCH_ROWS = 4096
"""Rows per batch: past this the time saved is not measurable, and long values would need too much memory."""

MYSQL_BATCH_ROWS = 8192
"""As many through connectorx, which keeps one batch ahead."""

SQLITE_BUSY_MS = 5000
"""How long a read waits for a writer's lock, as Python's own sqlite3 does; SQLite's default is not at all."""


class Route(Protocol):
    """A way to run one statement and to stream its rows."""

    def open(self, sql: str, parameters: tuple[Any, ...] = ()) -> AbstractContextManager[pa.RecordBatchReader]:
        """Run ``sql`` and return its rows; connection and cursor live as long as the context.

        Raises
        ------
        MissingDriverError
            If the route's driver is not installed.
        ConnectError
            If the database cannot be opened or refuses the statement; also later, from the reader.
        """
        ...


class AdbcSqliteRoute:
    """SQLite by ADBC. The file is opened with ``mode=ro``: not a byte of it is changed.

    A statement is one read transaction. In a database without WAL an unfinished read keeps writers from
    committing, as any SQLite reader does; reading a WAL database may leave the empty ``-wal`` and ``-shm`` files
    that SQLite's readers make beside it.

    Notes
    -----
    ADBC brings a SQLite of its own, and Python's ``sqlite3`` has another. A process's file locks are one to the
    system, so the two neither see nor respect each other's, and either drops both when it lets go of the file
    (https://www.sqlite.org/howtocorrupt.html, section 2.2.1). So ``sqlite3`` holds a read transaction around
    ADBC's: a writer in this process is told that the database is locked, as it should be, and closing its
    connection does not unlock what is being read. What cannot be helped from here: *finishing* a read drops the
    locks of a transaction that another thread has open on the same file through ``sqlite3``. Where a process
    writes the file from several threads, read by `CursorRoute`.

    Parameters
    ----------
    path
        The database file.
    immutable
        Open with ``immutable=1``, without locks: right only for a file that nobody writes. Chosen by itself
        where SQLite cannot open a WAL database in a read-only directory and no ``-wal`` file holds rows.
    batch_rows
        Rows per record batch. A batch's column holds less than 2 GiB: lower it where values are that long.
    """

    def __init__(self, path: str | Path, *, immutable: bool = False, batch_rows: int = SQLITE_BATCH_ROWS) -> None:
        self.path = Path(path).absolute()
        self.immutable = immutable
        self.batch_rows = batch_rows

    def __repr__(self) -> str:
        return f"AdbcSqliteRoute({str(self.path)!r})"

    @contextmanager
    def open(self, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[pa.RecordBatchReader]:
        driver = _driver("adbc_driver_sqlite.dbapi", "pip install adbc-driver-sqlite")
        redaction = Redaction.of_file(self.path)
        if not self.path.is_file():
            raise ConnectError(f"there is no database file {self.path}", hint="check the path; nothing was created")
        with ExitStack() as stack:
            try:
                immutable = self.immutable or not self._held(stack)
                reader = self._read(driver, sql, parameters, stack, immutable=immutable)
            except Exception as error:
                stack.close()
                raise _refused(error, redaction) from None
            yield guarded(reader, redaction)

    def _held(self, stack: ExitStack) -> bool:
        """Keep writers out until the stack closes; False: the file lies where nobody can write or lock it."""
        connection = sqlite3.connect(
            self._uri(), uri=True, timeout=SQLITE_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
        stack.callback(connection.close)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.OperationalError as error:
            if self._at_rest_beyond_reach(str(error)):
                return False
            raise
        return True

    def _read(
        self, driver: Any, sql: str, parameters: tuple[Any, ...], stack: ExitStack, *, immutable: bool
    ) -> pa.RecordBatchReader:
        connection = stack.enter_context(closing(driver.connect(self._uri(immutable=immutable), autocommit=True)))
        # The cursor is closed before its connection: an open one would keep the file open.
        cursor = stack.enter_context(closing(connection.cursor()))
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": self.batch_rows})
        cursor.execute(sql, parameters or None)
        return stack.enter_context(closing(cursor.fetch_record_batch()))

    def _uri(self, *, immutable: bool = False) -> str:
        # SQLite decodes percent signs in a URI; unquoted, a "?" or "#" in a file's name would end the path.
        return f"file:{quote(str(self.path))}?mode=ro{'&immutable=1' if immutable else ''}"

    def _at_rest_beyond_reach(self, message: str) -> bool:
        # What SQLite says of a WAL database whose -shm it may not make: either of these.
        if "unable to open database file" not in message and "attempt to write a readonly database" not in message:
            return False
        wal = self.path.with_name(self.path.name + "-wal")
        return not wal.exists() or wal.stat().st_size == 0


class AdbcPostgresRoute:
    """PostgreSQL by ADBC, in one read-only transaction.

    ``SET TRANSACTION READ ONLY`` is used, not a session's setting, which a pooler would hand on to others.

    Parameters
    ----------
    uri
        As libpq reads it: ``postgresql://user:password@host:5432/airflow?sslmode=require``, the password
        percent-encoded; without a driver's name (``postgresql+psycopg``).
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._redaction = Redaction.of_url(uri)

    def __repr__(self) -> str:
        return f"AdbcPostgresRoute({self._redaction.where!r})"

    @contextmanager
    def open(self, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[pa.RecordBatchReader]:
        driver = _driver("adbc_driver_postgresql.dbapi", "pip install 'storekit[postgres]'")
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(closing(driver.connect(self._uri)))
                cursor = stack.enter_context(closing(connection.cursor()))
                cursor.execute("SET TRANSACTION READ ONLY")
                cursor.execute(sql, parameters or None)
                reader = stack.enter_context(closing(cursor.fetch_record_batch()))
            except Exception as error:
                stack.close()
                raise _refused(error, self._redaction) from None
            yield guarded(reader, self._redaction)


class ConnectorxRoute:
    """MySQL and MariaDB by connectorx, in a read-only session of its own.

    A stream that is dropped before its end is read to the end by connectorx, in the background; a server that
    cannot be reached is given up after 30 seconds, with lines of its own on stderr.

    Parameters
    ----------
    url
        ``mysql://user:password@host:3306/airflow``, the password percent-encoded; without SQLAlchemy's
        parameters.
    batch_rows
        Rows per record batch.
    """

    def __init__(self, url: str, *, batch_rows: int = MYSQL_BATCH_ROWS) -> None:
        self._url = url
        self._redaction = Redaction.of_url(url)
        self.batch_rows = batch_rows

    def __repr__(self) -> str:
        return f"ConnectorxRoute({self._redaction.where!r})"

    @contextmanager
    def open(self, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[pa.RecordBatchReader]:
        connectorx = _driver("connectorx", "pip install 'storekit[mysql]'")
        if parameters:
            raise ValueError("connectorx takes no parameters; compile the statement with literals")
        url = self._url
        if "prefer_socket=" not in url:
            # Told "127.0.0.1", the client would move to the socket that the server names: with a tunnel, another
            # server's.
            url += f"{'&' if '?' in url else '?'}prefer_socket=false"
        try:
            reader = connectorx.read_sql(
                url,
                sql,
                return_type="arrow_stream",
                batch_size=self.batch_rows,
                pre_execution_query=["SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'"],
            )
        except BaseException as error:
            raise _refused(error, self._redaction) from None
        with closing(reader):
            yield guarded(reader, self._redaction)


def guarded(reader: pa.RecordBatchReader, redaction: Redaction) -> pa.RecordBatchReader:
    """Return the same stream with the driver's errors turned into `ConnectError`."""

    def batches() -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except BaseException as error:
                raise _refused(error, redaction) from None
            yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _refused(error: BaseException, redaction: Redaction) -> BaseException:
    # connectorx panics where a row cannot be read, and its panic is a BaseException; an interrupt is not ours.
    if isinstance(error, ConnectError) or (
        not isinstance(error, Exception) and type(error).__name__ != "PanicException"
    ):
        return error
    text = redaction.cleaned(str(error))
    if text is None:
        return ConnectError(
            f"{redaction.where} cannot be opened: its URL cannot be read",
            hint="percent-encode user and password: urllib.parse.quote(password, safe='')",
        )
    return ConnectError(f"{redaction.where} cannot be read: {essence(text)}", hint=_hint(text))


def _hint(text: str) -> str:
    if "database is locked" in text:
        return f"a writer held the lock for more than {SQLITE_BUSY_MS / 1000:.0f} s; try again"
    if "Type mismatch" in text:
        return "a row holds another type than the column's; storekit reads the columns of the layout as declared"
    if "unable to open database file" in text or "readonly database" in text:
        return "a -wal file beside it holds rows that a read-only directory keeps from being read; copy both elsewhere"
    if "file is not a database" in text:
        return "the file is not SQLite's, is encrypted or is damaged"
    return "check that the server runs and that the URL's host, user, password and database are right"


def _driver(module: str, command: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDriverError(
            f"the driver {module.partition('.')[0]} is not installed: {error}", hint=command
        ) from None
