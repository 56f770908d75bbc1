"""What garbage collection may delete, and the statements that do it, built by pure functions.

A statement that deletes repeats the whole predicate, so that it stays right whatever happened between the look and
the deed. Nothing in this module opens a connection.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Delete,
    LargeBinary,
    Select,
    Text,
    and_,
    delete,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import ReturningDelete

from storekit.metastore.layouts import Layout
from storekit.metastore.scans import octets
from storekit.metastore.statements import FIRST_INSTANT
from storekit.metastore.types import is_mysql

__all__ = [
    "TaskKey",
    "count_expired",
    "delete_expired",
    "delete_expired_telling_sizes",
    "delete_keys",
    "expired",
    "expired_rows",
    "keyset_bound",
    "measure_expired",
    "rows_of_keys",
]


class TaskKey(NamedTuple):
    """What names a task row, on every layout; ``region_id`` is None where the layout has no regions."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    region_id: str | None
    key: str


# --- the predicate ---------------------------------------------------------------------------------------------


def expired(layout: Layout, dialect: Dialect, now: datetime) -> ColumnElement[bool]:
    """Return the predicate of cleanup: the DELETE's form of `storekit.retention.verdicts.judge`.

    ``expires_at < now``, strictly; NULL never; a flagged row never, whatever its expiry says. What is no instant at all
    is no expiry: such a row is never deleted.
    """
    columns = layout.task_store.c
    conditions = [_lies_before(layout, now), *_is_instant(layout, dialect)]
    if layout.has_never_expire:
        conditions.append(columns.never_expire == false())
    return and_(*conditions)


def _lies_before(layout: Layout, now: datetime) -> ColumnElement[bool]:
    column = layout.task_store.c.expires_at
    return column < literal(now, column.type)


_DIGIT = "[0-9]"
_SQLITE_FORM = f"{_DIGIT * 4}-{_DIGIT * 2}-{_DIGIT * 2} {_DIGIT * 2}:[0-5]{_DIGIT}:[0-5]{_DIGIT}.{_DIGIT * 6}"


def _is_instant(layout: Layout, dialect: Dialect) -> list[ColumnElement[bool]]:
    """Return what tells an instant from what a column may hold beside one."""
    column = layout.task_store.c.expires_at
    if dialect.name == "sqlite":
        # Any text may stand there, and texts are compared as such: only the form that SQLAlchemy writes compares as
        # instants do. Most are told by their digits; for the rest strftime, which costs ten times as much, gives
        # another text for a day that no month has, once it is made to compute.
        text = type_coerce(column, Text)
        seconds, month = func.substr(text, 1, 19), func.substr(text, 6, 2)
        day, hour = func.substr(text, 9, 2), func.substr(text, 12, 2)
        plainly = and_(text >= "0001", month.between("01", "12"), day.between("01", "28"), hour < "24")
        return [
            text.op("GLOB")(_SQLITE_FORM),
            or_(plainly, func.strftime("%Y-%m-%d %H:%M:%S", seconds, "+0 seconds") == seconds),
        ]
    if dialect.name == "postgresql":
        return [column >= literal_column(FIRST_INSTANT)]  # not -infinity, not before the year 1
    if is_mysql(dialect) and layout.is_airflow:
        return [func.unix_timestamp(column) > 0]  # not the zero date
    return []


# --- by the primary key, in batches ----------------------------------------------------------------------------


def _between(layout: Layout, after: int | None, up_to: int | None) -> list[ColumnElement[bool]]:
    ids = layout.task_store.c.id
    return [*([] if after is None else [ids > after]), *([] if up_to is None else [ids <= up_to])]


def keyset_bound(layout: Layout, now: datetime, *, after: int | None, batch_size: int) -> Select[int]:
    """Select the id of the last row of the next batch, or nothing where no full batch is left.

    The ids only divide the work, so the cheap half of the predicate will do.
    """
    columns = layout.task_store.c
    statement = select(columns.id).where(_lies_before(layout, now), *_between(layout, after, None))
    return statement.order_by(columns.id).limit(1).offset(batch_size - 1)


def delete_expired(
    layout: Layout, dialect: Dialect, now: datetime, *, after: int | None = None, up_to: int | None = None
) -> Delete:
    """Delete the expired rows with ``after < id <= up_to``; a bound of None is no bound.

    What decides is the predicate, evaluated on the row as it is when deleted: a key refreshed since the bound was read
    is kept.
    """
    return delete(layout.task_store).where(expired(layout, dialect, now), *_between(layout, after, up_to))


def delete_expired_telling_sizes(
    layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, up_to: int | None
) -> ReturningDelete[int] | Select[int, int]:
    """As `delete_expired`, and tell what went: one row (rows, bytes) on PostgreSQL, one (bytes,) per row on SQLite."""
    deletion = delete_expired(layout, dialect, now, after=after, up_to=up_to)
    sized = deletion.returning(octets(dialect, layout.task_store.c.value).label("octets"))
    if dialect.name != "postgresql":
        return sized
    gone = sized.cte("gone")
    return select(func.count(), func.coalesce(func.sum(gone.c.octets), 0)).select_from(gone)


def measure_expired(
    layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, up_to: int | None
) -> Select[int, int]:
    """Select how many rows `delete_expired` would take and their bytes, and lock them.

    For MySQL, which tells nothing of what it deleted; PostgreSQL would not lock below an aggregate.
    """
    measured = count_expired(layout, dialect, now).where(*_between(layout, after, up_to))
    return measured.with_for_update()


def count_expired(layout: Layout, dialect: Dialect, now: datetime) -> Select[int, int]:
    """Select how many rows have expired, and their bytes."""
    total = func.sum(octets(dialect, layout.task_store.c.value))
    return select(func.count(layout.task_store.c.id), func.coalesce(total, 0)).where(expired(layout, dialect, now))


def expired_rows(layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, limit: int) -> Select[Any]:
    """Select the next expired rows whole, by id, and lock them."""
    statement = select(*_row(layout, dialect, values=True))
    statement = statement.where(expired(layout, dialect, now), *_between(layout, after, None))
    return statement.order_by(layout.task_store.c.id).limit(limit).with_for_update()


# --- by natural key --------------------------------------------------------------------------------------------


def rows_of_keys(layout: Layout, dialect: Dialect, keys: Sequence[TaskKey], *, values: bool, lock: bool) -> Select[Any]:
    """Select the rows with these natural keys, as they are now."""
    statement = select(*_row(layout, dialect, values=values)).where(_among(layout, dialect, keys))
    return statement.with_for_update() if lock else statement


def delete_keys(layout: Layout, dialect: Dialect, now: datetime, keys: Sequence[TaskKey]) -> Delete:
    """Delete those of these keys that have expired. The caller holds their rows locked, so they are what it saw."""
    return delete(layout.task_store).where(_among(layout, dialect, keys), expired(layout, dialect, now))


def _row(layout: Layout, dialect: Dialect, *, values: bool) -> list[ColumnElement[Any]]:
    columns = layout.task_store.c
    absent: ColumnElement[Any] = literal_column("NULL")
    return [
        columns.id,
        columns.dag_id,
        columns.run_id,
        columns.task_id,
        columns.map_index,
        columns.region_id if layout.has_regions else absent.label("region_id"),
        columns.key,
        (columns.value if values else absent).label("value"),
        octets(dialect, columns.value).label("value_bytes"),
        columns.updated_at,
        columns.expires_at,
    ]


def _among(layout: Layout, dialect: Dialect, keys: Sequence[TaskKey]) -> ColumnElement[bool]:
    columns = layout.task_store.c
    named: list[ColumnElement[Any]] = [columns.dag_id, columns.run_id, columns.task_id, columns.map_index, columns.key]
    if not layout.has_regions:
        return tuple_(*named).in_([(*key[:4], key.key) for key in keys])
    regions = [uuid.UUID(key.region_id or "0" * 32) for key in keys]
    # A list of tuples passes by what RegionId does to a parameter on MySQL.
    raw = is_mysql(dialect)
    named.insert(4, type_coerce(columns.region_id, LargeBinary) if raw else columns.region_id)
    return tuple_(*named).in_(
        [(*key[:4], each.bytes if raw else each, key.key) for key, each in zip(keys, regions, strict=True)]
    )
