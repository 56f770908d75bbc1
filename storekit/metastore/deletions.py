"""What garbage collection may delete, and the statements that do it, built by pure functions.

A statement that deletes repeats the whole predicate, so that it stays right whatever happened between the look and
the deed. Nothing in this module opens a connection.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Delete,
    Integer,
    LargeBinary,
    Select,
    Text,
    Uuid,
    and_,
    case,
    cast,
    column,
    delete,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from storekit.metastore.layouts import Layout
from storekit.metastore.scans import known_instant, octets, scan_tasks
from storekit.metastore.statements import FIRST_INSTANT
from storekit.metastore.types import is_mysql

__all__ = [
    "TaskKey",
    "count_expired",
    "count_expired_rows",
    "delete_expired",
    "delete_expired_telling_sizes",
    "delete_locked",
    "expired",
    "expired_rows",
    "folded",
    "keyset_bound",
    "lock_expired",
    "measure_batch",
    "measure_expired",
    "rows_of_keys",
    "wire_rows",
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


def expired(layout: Layout, dialect: Dialect, now: datetime, *, by_id: bool = False) -> ColumnElement[bool]:
    """Return the predicate of cleanup: the DELETE's form of `storekit.retention.verdicts.judge`.

    ``expires_at < now``, strictly; NULL never; a flagged row never, whatever its expiry says. What is no instant at all
    is no expiry: such a row is never deleted. ``by_id`` is for a statement whose ids find the rows already.
    """
    columns = layout.task_store.c
    conditions = [_lies_before(layout, now), *_is_instant(layout, dialect)]
    if layout.has_never_expire:
        conditions.append(columns.never_expire == false())
    return _by_id(dialect, and_(*conditions)) if by_id else and_(*conditions)


def _lies_before(layout: Layout, now: datetime) -> ColumnElement[bool]:
    expires_at = layout.task_store.c.expires_at
    return expires_at < literal(now, expires_at.type)


def _roughly_expired(layout: Layout, dialect: Dialect, now: datetime, *, by_id: bool) -> ColumnElement[bool]:
    """Return the cheap half of `expired`: all that it takes, and perhaps more."""
    return _by_id(dialect, _lies_before(layout, now)) if by_id else _lies_before(layout, now)


def _by_id(dialect: Dialect, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the same condition in a form that the index on expires_at cannot serve.

    With statistics that are old or missing a server would walk all that has expired, once for each batch.
    """
    return condition if dialect.name == "sqlite" else condition.self_group().is_(true())


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


def keyset_bound(layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, batch_size: int) -> Select[int]:
    """Select the id of the last row of the next batch, or nothing where no full batch is left.

    The ids only divide the work, so the cheap half of the predicate will do.
    """
    columns = layout.task_store.c
    # The first look may go by the index on expires_at: where little has expired in a large table, it is the last.
    roughly = _roughly_expired(layout, dialect, now, by_id=after is not None)
    statement = select(columns.id).where(roughly, *_between(layout, after, None))
    return statement.order_by(columns.id).limit(1).offset(batch_size - 1)


def delete_expired(
    layout: Layout, dialect: Dialect, now: datetime, *, after: int | None = None, up_to: int | None = None
) -> Delete:
    """Delete the expired rows with ``after < id <= up_to``; a bound of None is no bound.

    What decides is the predicate, evaluated on the row as it is when deleted: a key refreshed since the bound was read
    is kept.
    """
    bounded = up_to is not None
    return delete(layout.task_store).where(
        expired(layout, dialect, now, by_id=bounded), *_between(layout, after, up_to)
    )


def delete_expired_telling_sizes(
    layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, up_to: int | None
) -> Select[int, int]:
    """As `delete_expired`, and select how many rows went and their bytes; PostgreSQL only."""
    deletion = delete_expired(layout, dialect, now, after=after, up_to=up_to)
    gone = deletion.returning(octets(dialect, layout.task_store.c.value).label("octets")).cte("gone")
    return select(func.count(), func.coalesce(func.sum(gone.c.octets), 0)).select_from(gone)


def measure_batch(
    layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, batch_size: int, roughly: bool
) -> Select[int, int, int]:
    """Select rows, bytes and the last id of the next batch; 0 rows and no id where nothing is left.

    ``roughly``: by the cheap half of the predicate, so perhaps with rows that a DELETE leaves; the counts will tell.
    """
    columns = layout.task_store.c
    batch = select(columns.id, octets(dialect, columns.value).label("octets"))
    walking = after is not None  # the first look may go by the index on expires_at: where little has expired, it is all
    predicate = _roughly_expired if roughly else expired
    batch = batch.where(predicate(layout, dialect, now, by_id=walking), *_between(layout, after, None))
    if batch_size:
        batch = batch.order_by(columns.id).limit(batch_size)
    rows = batch.subquery("batch").c
    return select(func.count(), func.coalesce(func.sum(rows.octets), 0), func.max(rows.id))


def measure_expired(
    layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, up_to: int | None
) -> Select[int, int]:
    """Select how many rows `delete_expired` would take and their bytes, and lock them.

    For MySQL, which tells nothing of what it deleted; PostgreSQL would not lock below an aggregate.
    """
    measured = _counted(layout, dialect).where(
        expired(layout, dialect, now, by_id=up_to is not None), *_between(layout, after, up_to)
    )
    return measured.with_for_update()


def count_expired(layout: Layout, dialect: Dialect, now: datetime) -> Select[int, int]:
    """Select how many rows have expired, and their bytes."""
    return _counted(layout, dialect).where(expired(layout, dialect, now))


def count_expired_rows(layout: Layout, dialect: Dialect, now: datetime) -> Select[int]:
    """Select how many rows have expired. Not their bytes: those would cost a look at every value."""
    return select(func.count(layout.task_store.c.id)).where(expired(layout, dialect, now))


def _counted(layout: Layout, dialect: Dialect) -> Select[int, int]:
    columns = layout.task_store.c
    return select(func.count(columns.id), func.coalesce(func.sum(octets(dialect, columns.value)), 0))


def lock_expired(layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, limit: int) -> Select[int, int]:
    """Select id and bytes of the next expired rows, by id, and lock them."""
    columns = layout.task_store.c
    statement = select(columns.id, octets(dialect, columns.value))
    walking = after is not None
    statement = statement.where(expired(layout, dialect, now, by_id=walking), *_between(layout, after, None))
    return statement.order_by(columns.id).limit(limit).with_for_update()


def expired_rows(layout: Layout, dialect: Dialect, now: datetime, *, after: int | None, up_to: int) -> Select[Any]:
    """Select the expired rows with ``after < id <= up_to`` whole, in wire form."""
    statement = scan_tasks(layout, dialect, values=True)
    return statement.where(expired(layout, dialect, now, by_id=True), *_between(layout, after, up_to))


# --- by natural key --------------------------------------------------------------------------------------------


def rows_of_keys(
    layout: Layout,
    dialect: Dialect,
    keys: Sequence[TaskKey],
    *,
    now: datetime | None = None,
    with_values: bool = False,
    lock: bool = False,
) -> Select[Any]:
    """Select the rows with these natural keys, perhaps some more, as they are now, for `storekit.metastore.rows`.

    With ``now``, each row says whether cleanup would take it.
    """
    has_expired = case((expired(layout, dialect, now, by_id=True), 1), else_=0) if now is not None else literal(0)
    cells = [*_row(layout, dialect, with_values=with_values), has_expired.label("has_expired")]
    statement = _of_keys(select(*cells), layout, dialect, keys)
    return statement.with_for_update(of=layout.task_store) if lock else statement


def wire_rows(layout: Layout, dialect: Dialect, ids: Sequence[int]) -> Select[Any]:
    """Select rows whole, in wire form. The caller holds them locked, so that their ids are theirs."""
    return scan_tasks(layout, dialect, values=True).where(layout.task_store.c.id.in_(ids))


def delete_locked(layout: Layout, dialect: Dialect, now: datetime, ids: Sequence[int]) -> Delete:
    """Delete a few rows that the caller holds locked. The predicate stands here too: it is the law."""
    return delete(layout.task_store).where(layout.task_store.c.id.in_(ids), expired(layout, dialect, now, by_id=True))


def _row(layout: Layout, dialect: Dialect, *, with_values: bool) -> list[ColumnElement[Any]]:
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
        (columns.value if with_values else absent).label("value"),
        octets(dialect, columns.value).label("value_bytes"),
        columns.updated_at,
        type_coerce(known_instant(dialect, columns.expires_at), columns.expires_at.type).label("expires_at"),
    ]


def folded(layout: Layout, dialect: Dialect) -> Callable[[TaskKey], TaskKey]:
    """Return what makes one of two keys that the database takes for one: on Airflow's MySQL, trailing spaces."""
    if not (is_mysql(dialect) and layout.is_airflow):
        return lambda key: key
    return lambda key: TaskKey(
        key.dag_id.rstrip(" "),
        key.run_id.rstrip(" "),
        key.task_id.rstrip(" "),
        key.map_index,
        key.region_id,
        key.key.rstrip(" "),
    )


def _of_keys(statement: Select[Any], layout: Layout, dialect: Dialect, keys: Sequence[TaskKey]) -> Select[Any]:
    """Narrow to these keys, or a few more, by a statement that is compiled once for any number of them.

    The keys are one parameter, a JSON array joined as a table: given a list of tuples SQLite and PostgreSQL pass by the
    index. MySQL does not, and its JSON_TABLE would need each column's collation.
    """
    columns = layout.task_store.c
    names = ["dag_id", "run_id", "task_id", "map_index", "key", *(["region_id"] if layout.has_regions else [])]
    regions = [uuid.UUID(key.region_id or "0" * 32) for key in keys]
    if is_mysql(dialect):
        # A list of tuples passes by what RegionId does to a parameter.
        named = [type_coerce(columns[name], LargeBinary) if name == "region_id" else columns[name] for name in names]
        wanted = [(*key[:4], key.key, region.bytes) for key, region in zip(keys, regions, strict=True)]
        return statement.where(tuple_(*named).in_([each[: len(names)] for each in wanted]))
    listed = json.dumps([(*key[:4], key.key, region.hex) for key, region in zip(keys, regions, strict=True)])
    cells: list[ColumnElement[Any]] = []
    if dialect.name == "postgresql":
        given = func.json_array_elements(cast(literal(listed), JSON))
        parsed = given.table_valued(column("value", JSON), name="wanted")
        # Not to the columns' own types: a cast to VARCHAR(250) cuts, and one key would pass for another.
        kinds: dict[str, TypeEngine[Any]] = {"map_index": Integer(), "region_id": Uuid()}
        cells += [cast(parsed.c.value[place].astext, kinds.get(name, Text())) for place, name in enumerate(names)]
    else:
        return _by_instance(statement, layout, listed)
    condition = and_(*(columns[name] == cell for name, cell in zip(names, cells, strict=True)))
    return statement.select_from(parsed.join(layout.task_store, condition))


def _by_instance(statement: Select[Any], layout: Layout, listed: str) -> Select[Any]:
    """Narrow to the keys in the list, and perhaps some more of the same task instances; for SQLite.

    The index knows task instances, not keys. Joined key by key, the rows of an instance with many keys would be walked
    once for each of them.
    """
    columns = layout.task_store.c
    wanted = func.json_each(listed).table_valued("value", name="wanted")
    names = ["dag_id", "run_id", "task_id", "map_index"]
    cells = [func.json_extract(wanted.c.value, f"$[{place}]").label(name) for place, name in enumerate(names)]
    instances = select(*cells).distinct().subquery("instances")
    keys = select(func.json_extract(wanted.c.value, "$[4]"))
    same = [columns[name] == instances.c[name] for name in names]
    # An outer join keeps SQLite from walking the table and looking each row up in the list.
    return statement.select_from(instances.outerjoin(layout.task_store, and_(*same, columns.key.in_(keys))))
