"""The parents of an embedded store's rows: DagRuns, task instances, assets.

On a real Airflow database these belong to Airflow; there, each of these functions refuses.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, inspect, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from storekit.errors import AssetNotFoundError, DagRunNotFoundError, LayoutError
from storekit.metastore import statements
from storekit.metastore.layouts import AIRFLOW_3_3, STOREKIT, Layout
from storekit.metastore.types import is_mysql
from storekit.state import AssetScope, TaskScope

__all__ = [
    "add_asset",
    "add_dag_run",
    "add_task_instance",
    "create_tables",
    "deactivate_asset",
    "delete_asset",
    "delete_dag_run",
    "set_task_instance_state",
]


def create_tables(connection: Connection, *, where: str) -> None:
    """Make storekit's own tables; those that are there already are left alone."""
    there = set(inspect(connection).get_table_names())
    foreign = there & {"alembic_version", AIRFLOW_3_3.task_store.name}
    if foreign:
        raise LayoutError(
            f"{where} is an Airflow database (it has {', '.join(sorted(foreign))}); storekit makes no tables in it",
            hint="connect() reads it as it is; give an embedded store a database of its own",
        )
    STOREKIT.metadata.create_all(connection)


def add_dag_run(connection: Connection, layout: Layout, dag_id: str, run_id: str, state: str) -> int:
    """Insert a DagRun, or find the one that is there; return its id."""
    _require_own(layout, "DagRuns are made")
    table = layout.dag_run
    _insert_if_missing(connection, table, dag_id=dag_id, run_id=run_id, state=state)
    this = (table.c.dag_id == dag_id) & (table.c.run_id == run_id)
    dag_run_id: Any = connection.scalar(select(table.c.id).where(this))
    return int(dag_run_id)


def delete_dag_run(connection: Connection, layout: Layout, dag_id: str, run_id: str) -> int:
    """Delete a DagRun; its task rows go with it, NEVER_EXPIRE ones too."""
    _require_own(layout, "DagRuns are deleted")
    table = layout.dag_run
    return connection.execute(delete(table).where(table.c.dag_id == dag_id, table.c.run_id == run_id)).rowcount


def add_task_instance(
    connection: Connection, layout: Layout, scope: TaskScope, *, state: str | None, try_number: int
) -> str:
    """Insert a task instance and return its id."""
    _require_own(layout, "task instances are made")
    if connection.scalar(statements.dag_run_exists(layout, scope)) is None:
        raise dag_run_not_found(scope)
    ti_id = str(uuid.uuid4())
    connection.execute(
        insert(layout.task_instance).values(
            id=ti_id,
            dag_id=scope.dag_id,
            run_id=scope.run_id,
            task_id=scope.task_id,
            map_index=scope.map_index,
            state=state,
            try_number=try_number,
        )
    )
    return ti_id


def set_task_instance_state(
    connection: Connection, layout: Layout, scope: TaskScope, state: str, *, clear_on_success: bool
) -> None:
    """Move a task instance to a state; on the transition to success its task rows go, if so configured.

    Assets' rows stay: they are the asset's, not the task instance's.
    """
    _require_own(layout, "task instances change state")
    table = layout.task_instance
    this = (
        (table.c.dag_id == scope.dag_id)
        & (table.c.run_id == scope.run_id)
        & (table.c.task_id == scope.task_id)
        & (table.c.map_index == scope.map_index)
    )
    before = connection.execute(select(table.c.state).where(this)).one_or_none()
    if before is None:
        raise LayoutError(f"no task instance {scope}", hint="add it first: backend.add_task_instance(scope)")
    connection.execute(update(table).where(this).values(state=state))
    if clear_on_success and state == "success" and before.state != "success":
        connection.execute(statements.clear_task(layout, scope, all_map_indices=False))


def add_asset(connection: Connection, layout: Layout, name: str, uri: str) -> int:
    """Insert an asset, or find the one that is there, make it active, and return its id."""
    _require_own(layout, "assets are made")
    asset, active = layout.asset, layout.asset_active
    this = (asset.c.name == name) & (asset.c.uri == uri)
    _insert_if_missing(connection, asset, name=name, uri=uri)
    asset_id: Any = connection.scalar(select(asset.c.id).where(this))
    for column, given in ((active.c.name, name), (active.c.uri, uri)):
        other = connection.execute(select(active).where(column == given)).one_or_none()
        if other is not None and (other.name, other.uri) != (name, uri):
            raise ValueError(
                f"asset name={name!r} uri={uri!r}: the active asset name={other.name!r} uri={other.uri!r} has the "
                f"same {column.name}; deactivate that one first"
            )
    _insert_if_missing(connection, active, name=name, uri=uri)
    return int(asset_id)


def deactivate_asset(connection: Connection, layout: Layout, scope: AssetScope) -> None:
    """Take an asset out of the active ones; its rows stay until something sweeps them."""
    _require_own(layout, "assets are deactivated")
    row = connection.execute(
        select(layout.asset.c.name, layout.asset.c.uri).where(statements.of_asset(layout, scope))
    ).one_or_none()
    if row is None:
        raise asset_not_found(scope)
    active = layout.asset_active
    connection.execute(delete(active).where(active.c.name == row.name, active.c.uri == row.uri))


def delete_asset(connection: Connection, layout: Layout, scope: AssetScope) -> None:
    """Delete an asset; its rows go with it."""
    _require_own(layout, "assets are deleted")
    deleted = connection.execute(delete(layout.asset).where(statements.of_asset(layout, scope))).rowcount
    if not deleted:
        raise asset_not_found(scope)


def dag_run_not_found(scope: TaskScope) -> DagRunNotFoundError:
    """Return the error for a scope without its DagRun."""
    return DagRunNotFoundError(
        f"No DagRun found for dag_id={scope.dag_id!r} run_id={scope.run_id!r}",
        hint="in an embedded store make it first: backend.add_dag_run(dag_id, run_id)",
    )


def asset_not_found(scope: AssetScope) -> AssetNotFoundError:
    """Return the error for a scope without its asset."""
    return AssetNotFoundError(
        f"No asset found for {scope}",
        hint="a name or a URI finds active assets only; in an embedded store make it first: "
        "backend.add_asset(name=..., uri=...)",
    )


def _insert_if_missing(connection: Connection, table: Table, **values: Any) -> None:
    """Insert a row unless one is there; two callers at once are no error."""
    if is_mysql(connection.dialect):
        # Not INSERT IGNORE, which would also swallow a value that does not fit.
        first = next(iter(table.primary_key))
        connection.execute(mysql.insert(table).values(**values).on_duplicate_key_update({first.name: first}))
        return
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(make(table).values(**values).on_conflict_do_nothing())


def _require_own(layout: Layout, what: str) -> None:
    if layout.is_airflow:
        raise LayoutError(
            f"this is an Airflow database ({layout.name}): {what} by Airflow, not by storekit",
            hint="use an embedded store: MetastoreStateBackend('sqlite:///my.db') and create_tables()",
        )
