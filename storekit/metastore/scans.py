"""Whole tables as statements, in their wire form, and as the text that fast drivers take.

The wire form is what each database can say cheaply and alike; ``storekit.frames.wire`` turns it into the column
contract. Like `storekit.metastore.statements`, nothing here opens a connection.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    String,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import CompoundSelect

from storekit.errors import QueryError
from storekit.metastore.layouts import Layout
from storekit.metastore.sight import Sight, join_runs, join_task_instances
from storekit.metastore.statements import FIRST_INSTANT, LAST_INSTANT, is_active
from storekit.metastore.types import is_mysql
from storekit.state.references import REFERENCE_KEY

__all__ = [
    "ASSET_FILTERS",
    "TASK_FILTERS",
    "Compiled",
    "Where",
    "compile_for_driver",
    "count_rows",
    "known_instant",
    "octets",
    "scan_assets",
    "scan_rows",
    "scan_tasks",
]

TASK_FILTERS = ("dag_id", "run_id", "task_id", "map_index", "key")
ASSET_FILTERS = ("asset_id", "asset_name", "asset_uri", "key")

Where = Mapping[str, str | int | Collection[str] | Collection[int]]

_BLIND = Sight()


def octets(dialect: Dialect, column: ColumnElement[str]) -> ColumnElement[int]:
    """Return the size of a text in bytes; ``length`` would count characters."""
    if dialect.name == "sqlite":
        return func.length(cast(column, LargeBinary))
    return cast(func.octet_length(column), BigInteger)


def _text(dialect: Dialect, column: ColumnElement[Any]) -> ColumnElement[Any]:
    # SQLite lets any value into any column, and its ADBC driver types a column by its first batch: say it.
    return cast(column, Text) if dialect.name == "sqlite" else column


def _text_or_empty(dialect: Dialect, column: ColumnElement[Any]) -> ColumnElement[Any]:
    # A column that starts with a batch of NULLs would be typed as integer by SQLite's ADBC driver.
    return func.coalesce(cast(column, Text), literal_column("''", Text)) if dialect.name == "sqlite" else column


def known_instant(dialect: Dialect, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an instant, or NULL for what only PostgreSQL takes for one: infinities, and years that nothing else knows.

    Those are no expiry; `deletions.expired` agrees.
    """
    if dialect.name != "postgresql":
        return column
    known = and_(column >= literal_column(FIRST_INSTANT), column <= literal_column(LAST_INSTANT))
    return case((known, column), else_=null())


def _instant(dialect: Dialect, column: ColumnElement[Any]) -> ColumnElement[Any]:
    if is_mysql(dialect):
        # Microseconds since 1970, free of the session's time zone: connectorx opens sessions of its own.
        if isinstance(column.type.dialect_impl(dialect).impl_instance, mysql.TIMESTAMP):  # type: ignore[attr-defined]
            # 0 is the zero date that a lenient server stores for what it cannot: no instant.
            return cast(func.nullif(func.unix_timestamp(column), literal_column("0")) * 1_000_000, BigInteger)
        return func.timestampdiff(literal_column("MICROSECOND"), literal_column("'1970-01-01 00:00:00'"), column)
    if dialect.name == "postgresql":
        return known_instant(dialect, column)
    nothing, blank = literal_column("''", Text), literal_column("' '", Text)
    # A text that is empty is not NULL: it must be seen for what it is.
    return case((column.is_(null()), nothing), (column == nothing, blank), else_=cast(column, Text))


def _region(layout: Layout, dialect: Dialect) -> ColumnElement[Any]:
    if not layout.has_regions:
        return _null_text(dialect)
    column = layout.task_store.c.region_id
    if is_mysql(dialect):
        return func.lower(func.hex(column))
    return cast(column, Text)


def _null_text(dialect: Dialect) -> ColumnElement[Any]:
    return literal_column("''", Text) if dialect.name == "sqlite" else cast(null(), String(1))


def _bool(dialect: Dialect, condition: ColumnElement[bool]) -> ColumnElement[Any]:
    # Integers, since MySQL and SQLite have no booleans.
    return case((condition, literal_column("1", Integer)), else_=literal_column("0", Integer))


def _never_expire(layout: Layout, dialect: Dialect) -> ColumnElement[Any]:
    # -1: this layout cannot tell.
    if layout.has_never_expire:
        return _bool(dialect, layout.task_store.c.never_expire == true())
    return literal_column("-1", Integer)


def _filtered(
    statement: Select[Any], dialect: Dialect, where: Where | None, columns: Mapping[str, ColumnElement[Any]]
) -> Select[Any]:
    if where is not None and not isinstance(where, Mapping):
        raise QueryError(f"where={where!r} is {type(where).__name__}", hint="write where={'dag_id': 'etl'}")
    for name, given in (where or {}).items():
        if name not in columns:
            raise QueryError(f"where= has no column {name!r}", hint=f"its columns are {', '.join(columns)}")
        kind = columns[name].type.python_type
        wanted = [given] if isinstance(given, str | int) else given
        if not isinstance(wanted, Collection) or not wanted or not all(_fits(each, kind) for each in wanted):
            raise QueryError(
                f"where={{{name!r}: {given!r}}}: {name} is {kind.__name__}",
                hint="write {'dag_id': 'etl'} or {'dag_id': ['etl', 'ml']}",
            )
        statement = statement.where(
            columns[name].in_([each for each in wanted if _can_be_there(each, columns[name], dialect)])
        )
    return statement


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def _can_be_there(value: object, column: ColumnElement[Any], dialect: Dialect) -> bool:
    """Tell whether a row can hold this text; a server refuses a statement with one that its column cannot hold."""
    if not isinstance(value, str):
        return True
    if dialect.name == "postgresql":
        return "\x00" not in value
    collation = getattr(column.type.dialect_impl(dialect), "collation", None) or ""
    if collation.startswith("utf8mb3"):
        return max(value, default="") <= "\uffff"
    return not collation.startswith("latin1") or value.isascii()


def scan_tasks(layout: Layout, dialect: Dialect, *, values: bool, where: Where | None = None) -> Select[Any]:
    """Select the task table in its wire form (`storekit.frames.wire` turns it into the column contract)."""
    columns = layout.task_store.c
    selected = [
        _text(dialect, columns.dag_id).label("dag_id"),
        _text(dialect, columns.run_id).label("run_id"),
        _text(dialect, columns.task_id).label("task_id"),
        columns.map_index.label("map_index"),
        _region(layout, dialect).label("region_id"),
        _text(dialect, columns.key).label("key"),
        *([_text(dialect, columns.value).label("value")] if values else []),
        octets(dialect, columns.value).label("value_bytes"),
        _instant(dialect, columns.updated_at).label("updated_at"),
        _instant(dialect, columns.expires_at).label("expires_at"),
        _never_expire(layout, dialect).label("never_expire"),
    ]
    return _filtered(select(*selected), dialect, where, {name: columns[name] for name in TASK_FILTERS})


def scan_assets(layout: Layout, dialect: Dialect, *, values: bool, where: Where | None = None) -> Select[Any]:
    """Select the asset table, with the asset's name, URI and whether it is active, in its wire form."""
    columns, asset = layout.asset_store.c, layout.asset.c
    selected = [
        columns.asset_id.label("asset_id"),
        _text(dialect, asset.name).label("asset_name"),
        _text(dialect, asset.uri).label("asset_uri"),
        _bool(dialect, is_active(layout)).label("active"),
        _text(dialect, columns.key).label("key"),
        *([_text(dialect, columns.value).label("value")] if values else []),
        octets(dialect, columns.value).label("value_bytes"),
        _instant(dialect, columns.updated_at).label("updated_at"),
        _text_or_empty(dialect, columns.last_updated_by_kind).label("last_updated_by_kind"),
        _text_or_empty(dialect, columns.last_updated_by_dag_id).label("last_updated_by_dag_id"),
        _text_or_empty(dialect, columns.last_updated_by_run_id).label("last_updated_by_run_id"),
        _text_or_empty(dialect, columns.last_updated_by_task_id).label("last_updated_by_task_id"),
        # -2: no index; -1 means a task that is not mapped.
        func.coalesce(*_writer_indexes(layout), literal_column("-2", Integer)).label("last_updated_by_map_index"),
    ]
    statement = select(*selected).join(layout.asset, asset.id == columns.asset_id)
    filters = {
        "asset_id": columns.asset_id,
        "asset_name": asset.name,
        "asset_uri": asset.uri,
        "key": columns.key,
    }
    return _filtered(statement, dialect, where, filters)


def _writer_indexes(layout: Layout) -> list[ColumnElement[int]]:
    columns = layout.asset_store.c
    # A row that 3.3 wrote keeps its map_index; one that 3.4 wrote has a region_index.
    newest = [columns.last_updated_by_region_index] if layout.has_regions else []
    return [*newest, columns.last_updated_by_map_index]


def scan_rows(layout: Layout, dialect: Dialect, sight: Sight = _BLIND) -> CompoundSelect[Any]:
    """Select both tables, narrow (no values), as one statement, with what their parents tell where they are seen.

    One statement sees one instant on every database and at every isolation level, also through a driver that
    opens a session per query.
    """
    tasks = _tasks_and_parents(layout, dialect, sight).subquery("tasks")
    assets = (
        scan_assets(layout, dialect, values=False)
        .add_columns(_is_reference(layout, dialect, layout.asset_store.c.value).label("is_reference"))
        .subquery("assets")
    )
    no_text, no_integer, no_instant = _null_text(dialect), literal_column("-2", Integer), _no_instant(dialect)
    from_tasks = select(
        literal_column("'task'", Text).label("store"),
        *(tasks.c[name] for name in ("dag_id", "run_id", "task_id", "map_index", "region_id")),
        no_integer.label("asset_id"),
        no_text.label("asset_name"),
        no_text.label("asset_uri"),
        no_integer.label("active"),
        *(tasks.c[name] for name in ("key", "value_bytes", "updated_at", "expires_at", "never_expire")),
        *(no_text.label(name) for name in _WRITER_TEXTS),
        no_integer.label("last_updated_by_map_index"),
        *(tasks.c[name] for name in ("is_reference", "task_state", "run_started_at", "run_is_kept")),
    )
    from_assets = select(
        literal_column("'asset'", Text).label("store"),
        no_text.label("dag_id"),
        no_text.label("run_id"),
        no_text.label("task_id"),
        no_integer.label("map_index"),
        no_text.label("region_id"),
        *(assets.c[name] for name in ("asset_id", "asset_name", "asset_uri", "active")),
        *(assets.c[name] for name in ("key", "value_bytes", "updated_at")),
        no_instant.label("expires_at"),
        literal_column("-1", Integer).label("never_expire"),
        *(assets.c[name] for name in _WRITER_TEXTS),
        assets.c.last_updated_by_map_index,
        assets.c.is_reference,
        no_text.label("task_state"),
        no_instant.label("run_started_at"),
        literal_column("-1", Integer).label("run_is_kept"),
    )
    return union_all(from_tasks, from_assets)


_WRITER_TEXTS = (
    "last_updated_by_kind",
    "last_updated_by_dag_id",
    "last_updated_by_run_id",
    "last_updated_by_task_id",
)


def _no_instant(dialect: Dialect) -> ColumnElement[Any]:
    if is_mysql(dialect):
        return cast(null(), BigInteger)
    if dialect.name == "sqlite":
        return literal_column("''", Text)
    return cast(null(), postgresql.TIMESTAMP(timezone=True))


def _tasks_and_parents(layout: Layout, dialect: Dialect, sight: Sight) -> Select[Any]:
    statement = scan_tasks(layout, dialect, values=False)
    state, started_at = _null_text(dialect), _no_instant(dialect)
    is_kept: ColumnElement[int] = literal_column("-1", Integer)
    if sight.task_instances:
        statement, (task_id, written) = join_task_instances(statement, layout, dialect, sight)
        # An instance without a state is told from no instance.
        known = func.coalesce(_text(dialect, written), literal_column("'none'", Text))
        state = case((task_id.is_(null()), state), else_=known)
    if sight.dag_runs:
        statement, (told, kept) = join_runs(statement, layout, partial(_run_instant, dialect))
        # Both are missing where the run is.
        started_at = func.coalesce(told, started_at) if dialect.name == "sqlite" else told
        is_kept = func.coalesce(kept, is_kept)
    return statement.add_columns(
        _is_reference(layout, dialect, layout.task_store.c.value).label("is_reference"),
        state.label("task_state"),
        started_at.label("run_started_at"),
        is_kept.label("run_is_kept"),
    )


def _run_instant(dialect: Dialect, column: ColumnElement[Any]) -> ColumnElement[Any]:
    if dialect.name != "sqlite":
        return _instant(dialect, column)
    # What is no instant there is none here: a DagRun, which is not the store's, does not stop its reading.
    text = cast(column, Text)
    seconds = func.substr(text, 1, 19)
    written = and_(
        func.length(text) == 26,
        func.strftime("%Y-%m-%d %H:%M:%S", seconds, "+0 seconds") == seconds,
        text.op("GLOB")("[0-9]*.[0-9][0-9][0-9][0-9][0-9][0-9]"),
        text >= "0001",
    )
    return case((written, text), else_=_no_instant(dialect))


def _is_reference(layout: Layout, dialect: Dialect, value: ColumnElement[str]) -> ColumnElement[Any]:
    """Whether a stored text is a reference: `storekit.state.references.read_stored`, as far as SQL can tell."""
    # Of a large value only the beginning is read.
    beginning: ColumnElement[Any] = func.substr(value, 1, len(_WRAPPED))
    if is_mysql(dialect):
        beginning = cast(beginning, LargeBinary)  # a text's own collation may not tell cases apart
    is_wrapped = beginning == literal(_WRAPPED, Text)
    if layout.is_airflow:
        return _bool(dialect, is_wrapped)
    if dialect.name == "postgresql":
        # 15 has nothing to tell JSON by; 64 characters hold every number that a value is likely to be.
        return _bool(dialect, or_(is_wrapped, not_(func.substr(value, 1, 64).op("~")(literal(_LIKE_JSON, Text)))))
    text = cast(value, Text) if dialect.name == "sqlite" else value
    inline = or_(func.json_valid(text) == 1, text.in_(_WORDS_OF_PYTHON))
    return _bool(dialect, or_(is_wrapped, not_(inline)))


_WRAPPED = json.dumps({REFERENCE_KEY: ""})[: -len(': ""}')]
"""How the JSON text of a wrapped reference begins."""
_WORDS_OF_PYTHON = ("NaN", "Infinity", "-Infinity")
"""What Python writes and reads as JSON, and nothing else does."""
_LIKE_JSON = (
    '^[ \t\r\n]*([[{"]|(true|false|null|NaN|-?Infinity|-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?)[ \t\r\n]*$)'
)


def count_rows(layout: Layout) -> Select[int, int]:
    """Select how many rows the two tables have."""
    return select(
        select(func.count()).select_from(layout.task_store).scalar_subquery(),
        select(func.count()).select_from(layout.asset_store).scalar_subquery(),
    )


@dataclass(frozen=True)
class Compiled:
    """A statement as text, with its parameters in order (none where the driver takes none)."""

    sql: str
    parameters: tuple[Any, ...]


def compile_for_driver(statement: Select[Any] | CompoundSelect[Any], dialect: Dialect) -> Compiled:
    """Compile for ADBC-SQLite (``?``), or for ADBC-PostgreSQL and connectorx (literals, quoted).

    With a bound parameter ADBC-PostgreSQL no longer streams: it gives one batch of everything. connectorx takes none.
    ``dialect`` must be that of a connected engine: it knows how the server escapes a literal.
    """
    if dialect.name != "sqlite":
        compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        return Compiled(str(compiled).replace("%%", "%"), ())
    compiled = statement.compile(
        dialect=sqlite.dialect(paramstyle="qmark"), compile_kwargs={"render_postcompile": True}
    )
    values = compiled.params
    return Compiled(str(compiled), tuple(values[name] for name in compiled.positiontup or ()))
