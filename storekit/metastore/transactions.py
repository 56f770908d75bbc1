"""One transaction that may fail for a passing reason: tried again with longer and longer pauses, then given up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from storekit.errors import WriteError
from storekit.metastore.engines import Database

__all__ = ["PAUSES", "ChangedMeanwhileError", "Within", "in_transaction", "writing"]

T = TypeVar("T")

PAUSES = (0.1, 0.4, 1.6, 5.0)
"""Seconds between the attempts, each taken with up to half more by chance, so that two who collided part."""

_POSTGRES_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '30s'"

# Serialization failure, deadlock, lock not available; the server is going down or coming up; the connection is lost.
_PASSING_STATES = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08")
# Lock wait timeout, deadlock; server shutting down, gone away, lost, not reached.
_PASSING_NUMBERS = frozenset({1205, 1213, 1053, 2002, 2003, 2006, 2013, 2055})


class ChangedMeanwhileError(Exception):
    """Rows that were locked are not those that were deleted: roll back, look again."""


Within = Callable[[], AbstractContextManager[None]]
"""Entered around what can be undone: the statements of an attempt, and the pauses; left before a commit."""


def in_transaction(
    database: Database,
    work: Callable[[Connection], T],
    *,
    within: Within = nullcontext,
    undone: Callable[[], None] = lambda: None,
) -> T:
    """Run ``work`` in a writing transaction of its own, again if what failed may pass; ``work`` starts anew each time.

    Where the answer to a COMMIT is lost with the connection, the transaction may have been done: ``work`` must bear to
    be done twice. After any other failure ``undone`` is called: what ``work`` did is rolled back.

    Raises
    ------
    ConnectError, WriteError
        What the last attempt raised.
    """
    for pause in (*PAUSES, None):
        try:
            with writing(database) as connection, within():
                return work(connection)
        except DBAPIError as error:
            if not error.connection_invalidated:
                undone()
            if pause is None or not may_pass(error):
                with database.errors():
                    raise
        except ChangedMeanwhileError as error:
            if pause is None:
                raise WriteError(f"{database.description}: {error}", hint="it is written to a lot: try again") from None
        with within():
            time.sleep(pause * random.uniform(1, 1.5))  # noqa: S311 - no secret hangs on it
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def writing(database: Database) -> Iterator[Connection]:
    """Open a transaction that sees what others have committed by the time of each statement, and may write."""
    family = database.url.family
    with database.engine.connect() as fresh:
        # Under a stricter level, a row that another transaction has changed is an error rather than looked at again;
        # and MySQL would lock the gaps between the rows, in the way of writers.
        connection = fresh if family == "sqlite" else fresh.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            if family == "sqlite":
                # The lock of a writer from the start: one that is asked for after a read may be refused at once.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif family == "postgresql":
                connection.exec_driver_sql(_POSTGRES_LOCK_TIMEOUT)
            yield connection


def may_pass(error: DBAPIError) -> bool:
    """Whether what failed may go well the next time."""
    if error.connection_invalidated:
        return True
    # psycopg, psycopg2; Airflow may be on either.
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if isinstance(state, str):
        return state.startswith(_PASSING_STATES)
    args = getattr(error.orig, "args", ())
    if args and isinstance(args[0], int):
        return args[0] in _PASSING_NUMBERS
    said = str(error.orig).lower()
    if "locked" in said or "busy" in said:
        return True
    # psycopg gives no state where the server was not reached; the database was there when its layout was found.
    unreached = ("connection", "closed", "terminat", "starting up", "shutting down")
    return isinstance(error, OperationalError | InterfaceError) and any(word in said for word in unreached)
