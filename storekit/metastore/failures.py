"""What databases and their drivers say when something fails, as storekit's errors.

No parameters and no credentials get into a message. The driver's own error is not chained: its traceback is a hundred
lines of the driver's insides, and some drivers quote what they were given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import (
    TimeoutError as PoolTimeoutError,
)

from storekit.errors import (
    ConnectError,
    InvalidKeyError,
    InvalidValueError,
    MissingDriverError,
    ReadOnlyError,
    StorekitError,
    WriteError,
)

__all__ = ["first_line", "translated"]

_EXTRAS = {"postgresql": "postgres", "mysql": "mysql"}

# MySQL tells everything as an OperationalError or a DataError; its numbers are what can be relied on.
_MYSQL_TEXT = frozenset({1267, 1270, 1271, 1366, 3988})
_MYSQL_VALUE = frozenset({1264, 1265, 1292, 1406, 1153})
_MYSQL_BUSY = frozenset({1205, 1213})
_MYSQL_READ_ONLY = frozenset({1290, 1792, 1836})
_POSTGRES_READ_ONLY = "25006"
_POSTGRES_BUSY = frozenset({"40001", "40P01", "55P03"})


@contextmanager
def translated(where: str, family: str) -> Iterator[None]:
    """Turn what is raised inside into storekit's errors; ``where`` names the database without credentials."""
    try:
        yield
    except StorekitError:
        raise
    except ImportError as error:
        if family not in _EXTRAS:
            raise
        raise MissingDriverError(
            f"the driver for {family} is not installed ({error.name or error})",
            hint=f"pip install 'storekit[{_EXTRAS[family]}]'",
        ) from None
    except UnicodeEncodeError as error:
        # The error carries the whole text, which may be a password.
        if error.encoding == "latin-1":
            raise ConnectError(
                f"{where}: the user or the password holds a character that the driver cannot send",
                hint="PyMySQL sends both as Latin-1: choose others",
            ) from None
        raise InvalidValueError(
            f"{where}: a text holds a lone surrogate, which UTF-8 cannot store",
            hint="decode its source with errors='replace'",
        ) from None
    except NoSuchModuleError:
        raise ConnectError(f"unknown database scheme in {where}") from None
    except DBAPIError as error:
        raise _by_what_it_says(error, where, family) from None
    except PoolTimeoutError:
        raise ConnectError(
            f"{where}: no connection came free",
            hint="a database in memory serves one caller at a time: pass the session you hold as session=, and read a "
            "scan to its end first",
        ) from None
    except SQLAlchemyError as error:
        raise ConnectError(f"{where}: {first_line(error)}") from None


def _by_what_it_says(error: DBAPIError, where: str, family: str) -> StorekitError:
    said = first_line(error.orig or error)
    lowered = said.lower()
    by_number = _by_number(error, where, said)
    if by_number is not None:
        return by_number
    # SQLite's words hold no names of ours. A server's do: a role called "airflow_readonly" says nothing of the
    # transaction.
    by_words = _by_sqlites_words(lowered, where, said) if family == "sqlite" else None
    if by_words is not None:
        return by_words
    if "authentication failed" in lowered or "access denied" in lowered:
        return ConnectError(f"{where} refused the user or the password ({said})", hint="check both in the URL")
    if isinstance(error, IntegrityError):
        return WriteError(
            f"{where} refused the row: {said}", hint="a row it belongs to may be gone, or it is there already"
        )
    if "no such table" in lowered or isinstance(error, ProgrammingError):
        return ConnectError(f"{where}: {said}")
    if error.connection_invalidated or isinstance(error, OperationalError):
        return ConnectError(f"{where} cannot be reached or read: {said}", hint="is it running, and the name right?")
    return WriteError(f"{where} refused the statement: {said}")


def _read_only(where: str, said: str) -> ReadOnlyError:
    return ReadOnlyError(
        f"{where} is open for reading only ({said})", hint="open it with writable=True, or as another user"
    )


def _by_sqlites_words(lowered: str, where: str, said: str) -> StorekitError | None:
    if "readonly" in lowered:
        return _read_only(where, said)
    if "not a database" in lowered or "file is encrypted" in lowered:
        return ConnectError(f"{where} is not a SQLite database ({said})", hint="check the path")
    if "malformed" in lowered or "disk image" in lowered:
        return ConnectError(
            f"{where} is damaged ({said})", hint="was it copied while being written? try `.recover` in sqlite3"
        )
    if "could not decode" in lowered:
        # Its words quote the value, which may be a secret.
        return ConnectError(
            f"{where} holds a text that is not UTF-8",
            hint="correct it, or delete it: a cleanup without an archive does not read it",
        )
    if "unable to open database file" in lowered:
        return ConnectError(
            f"{where} cannot be opened ({said})", hint="does the file exist? create_tables() makes an embedded store"
        )
    if "locked" in lowered:
        return WriteError(f"{where} is locked by another writer ({said})", hint="try again when it is done")
    return None


def _by_number(error: DBAPIError, where: str, said: str) -> StorekitError | None:
    args = getattr(error.orig, "args", ())
    number = args[0] if args and isinstance(args[0], int) else None
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)  # psycopg, psycopg2
    if number in _MYSQL_READ_ONLY or state == _POSTGRES_READ_ONLY:
        return _read_only(where, said)
    if number in _MYSQL_BUSY or state in _POSTGRES_BUSY:
        return WriteError(f"{where} is held by another transaction ({said})", hint="try again")
    if number in _MYSQL_TEXT:
        return InvalidKeyError(
            f"{where}: a column's character set cannot hold this text ({said})",
            hint="on MySQL Airflow's ids and keys are utf8mb3 (no emoji), its assets' names latin1",
        )
    if number in _MYSQL_VALUE:
        return InvalidValueError(
            f"{where} cannot hold this ({said})",
            hint="Airflow's expiries on MySQL end on 2038-01-19: use NEVER_EXPIRE; a value may have 16 MiB, and "
            "max_allowed_packet may allow less",
        )
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; the rest may quote the statement."""
    text = str(error).strip()
    if isinstance(error.args, tuple) and len(error.args) == 2 and isinstance(error.args[0], int):
        text = str(error.args[1])  # pymysql: (code, message)
    return text.splitlines()[0].strip() if text else type(error).__name__
