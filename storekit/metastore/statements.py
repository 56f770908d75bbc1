"""Statements on single rows, built by pure functions. Nothing in this module opens a connection."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Integer,
    Select,
    and_,
    delete,
    exists,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect

from storekit.metastore.layouts import DEFAULT_REGION, Layout
from storekit.metastore.types import is_mysql
from storekit.state import AssetScope, AssetWriter, TaskScope

__all__ = [
    "FIRST_INSTANT",
    "LAST_INSTANT",
    "asset_exists",
    "clear_asset",
    "clear_task",
    "dag_run_exists",
    "delete_asset_key",
    "delete_task_key",
    "get_asset_value",
    "get_task_value",
    "is_active",
    "of_asset",
    "set_asset_value",
    "set_task_value",
]


FIRST_INSTANT = "TIMESTAMPTZ '0001-01-01 00:00:00+00'"
LAST_INSTANT = "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'"
"""What Python and Arrow can tell; PostgreSQL knows more, and infinities beside."""


# --- one row ---------------------------------------------------------------------------------------------------


def _in_scope(layout: Layout, scope: TaskScope, *, all_map_indices: bool = False) -> ColumnElement[bool]:
    columns = layout.task_store.c
    conditions = [
        columns.dag_id == scope.dag_id,
        columns.run_id == scope.run_id,
        columns.task_id == scope.task_id,
    ]
    if not all_map_indices:
        conditions.append(columns.map_index == scope.map_index)
        if layout.has_regions:
            # A scope names no region; an expansion's own regions are reached by all_map_indices only.
            conditions.append(columns.region_id == DEFAULT_REGION)
    return and_(*conditions)


def _of_dag_run(layout: Layout, scope: TaskScope) -> ColumnElement[bool]:
    return and_(layout.dag_run.c.dag_id == scope.dag_id, layout.dag_run.c.run_id == scope.run_id)


def is_active(layout: Layout) -> ColumnElement[bool]:
    """Whether the asset of the enclosing statement is declared by a Dag."""
    active = layout.asset_active
    return exists().where(active.c.name == layout.asset.c.name, active.c.uri == layout.asset.c.uri)


def of_asset(layout: Layout, scope: AssetScope) -> ColumnElement[bool]:
    asset = layout.asset
    conditions: list[ColumnElement[bool]] = []
    if scope.asset_id is not None:
        conditions.append(asset.c.id == scope.asset_id)
    else:
        # A name or a URI means the active asset: an inactive one may share it (source: released AssetScope).
        conditions.append(is_active(layout))
    if scope.name is not None:
        conditions.append(asset.c.name == scope.name)
    if scope.uri is not None:
        conditions.append(asset.c.uri == scope.uri)
    return and_(*conditions)


def _of_asset_rows(layout: Layout, scope: AssetScope) -> ColumnElement[bool]:
    if scope.asset_id is not None and scope.name is None and scope.uri is None:
        return layout.asset_store.c.asset_id == scope.asset_id
    matching = select(layout.asset.c.id).where(of_asset(layout, scope))
    return layout.asset_store.c.asset_id.in_(matching)


def get_task_value(layout: Layout, scope: TaskScope, key: str) -> Select[str]:
    """Select the value of one key."""
    return select(layout.task_store.c.value).where(_in_scope(layout, scope), layout.task_store.c.key == key)


def get_asset_value(layout: Layout, scope: AssetScope, key: str) -> Select[str]:
    """Select the value of one key of an asset."""
    return select(layout.asset_store.c.value).where(_of_asset_rows(layout, scope), layout.asset_store.c.key == key)


def dag_run_exists(layout: Layout, scope: TaskScope) -> Select[int]:
    """Select a 1 if the scope's DagRun is there."""
    return select(literal_column("1", Integer)).select_from(layout.dag_run).where(_of_dag_run(layout, scope))


def asset_exists(layout: Layout, scope: AssetScope) -> Select[int]:
    """Select a 1 if the scope's asset is there."""
    return select(literal_column("1", Integer)).select_from(layout.asset).where(of_asset(layout, scope))


def set_task_value(
    layout: Layout,
    dialect: Dialect,
    scope: TaskScope,
    key: str,
    value: str,
    *,
    updated_at: datetime,
    expires_at: datetime | None,
    never_expire: bool,
) -> Insert:
    """Insert or replace one row, in one statement; it touches no row where the DagRun is missing."""
    table = layout.task_store
    identity: dict[str, Any] = {"task_id": scope.task_id, "map_index": scope.map_index, "key": key}
    if layout.has_regions:
        identity["region_id"] = DEFAULT_REGION
    replaced: dict[str, Any] = {"value": value, "updated_at": updated_at, "expires_at": expires_at}
    if layout.has_never_expire:
        replaced["never_expire"] = never_expire
    parents = {
        "dag_run_id": layout.dag_run.c.id,
        "dag_id": layout.dag_run.c.dag_id,
        "run_id": layout.dag_run.c.run_id,
    }
    given = {**identity, **replaced}
    rows = select(*parents.values(), *(literal(each, table.c[name].type) for name, each in given.items())).where(
        _of_dag_run(layout, scope)
    )
    return _upsert(
        dialect,
        table,
        [*parents, *given],
        rows,
        conflict=["dag_run_id", *identity],
        replaced=replaced,
    )


def set_asset_value(
    layout: Layout,
    dialect: Dialect,
    scope: AssetScope,
    key: str,
    value: str,
    *,
    updated_at: datetime,
    writer: AssetWriter | None,
) -> Insert:
    """Insert or replace one row of an asset, in one statement; it touches no row where the asset is missing.

    Without a writer, an existing row keeps the writer that it names (as released Airflow does).
    """
    table = layout.asset_store
    replaced: dict[str, Any] = {"value": value, "updated_at": updated_at}
    if writer is not None:
        replaced |= {
            "last_updated_by_kind": writer.kind.value,
            "last_updated_by_dag_id": writer.dag_id,
            "last_updated_by_run_id": writer.run_id,
            "last_updated_by_task_id": writer.task_id,
            "last_updated_by_map_index": writer.map_index,
        }
        if layout.has_regions:
            # What wrote before is not what wrote now: leave nothing of it behind.
            replaced |= {
                "last_updated_by_task_instance_id": None,
                "last_updated_by_region_id": None,
                "last_updated_by_region_index": writer.map_index,
                "last_updated_by_try_number": None,
            }
    given = {"key": key, **replaced}
    rows = select(layout.asset.c.id, *(literal(each, table.c[name].type) for name, each in given.items())).where(
        of_asset(layout, scope)
    )
    return _upsert(dialect, table, ["asset_id", *given], rows, conflict=["asset_id", "key"], replaced=replaced)


def _upsert(
    dialect: Dialect,
    table: Any,
    names: list[str],
    rows: Select[Any],
    *,
    conflict: list[str],
    replaced: Mapping[str, Any],
) -> Insert:
    columns = [table.c[name] for name in names]
    typed = {table.c[name].name: literal(each, table.c[name].type) for name, each in replaced.items()}
    if is_mysql(dialect):
        return mysql.insert(table).from_select(columns, rows, include_defaults=False).on_duplicate_key_update(typed)
    insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
    return (
        insert(table)
        .from_select(columns, rows, include_defaults=False)
        .on_conflict_do_update(index_elements=[table.c[name] for name in conflict], set_=typed)
    )


def delete_task_key(layout: Layout, scope: TaskScope, key: str) -> Delete:
    """Delete one key."""
    return delete(layout.task_store).where(_in_scope(layout, scope), layout.task_store.c.key == key)


def delete_asset_key(layout: Layout, scope: AssetScope, key: str) -> Delete:
    """Delete one key of an asset."""
    return delete(layout.asset_store).where(_of_asset_rows(layout, scope), layout.asset_store.c.key == key)


def clear_task(layout: Layout, scope: TaskScope, *, all_map_indices: bool) -> Delete:
    """Delete every key of a task instance, or of all the mapped instances of its task."""
    return delete(layout.task_store).where(_in_scope(layout, scope, all_map_indices=all_map_indices))


def clear_asset(layout: Layout, scope: AssetScope) -> Delete:
    """Delete every key of an asset."""
    return delete(layout.asset_store).where(_of_asset_rows(layout, scope))
