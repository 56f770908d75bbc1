"""What of a store's parents a reader can see, and how the parents are joined to its rows.

No reading of the store needs ``task_instance`` or ``dag_run``, and a reader may have no right to see them. What they
tell is worth having all the same: whether a task is finished, when its run started. So a scan is told first what it
can have. The look is a question per table that gives no row; it tries the very join that the scan will make, so that
whatever would refuse the scan (a privilege, a column, two collations that do not compare) refuses the look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    column,
    false,
    func,
    inspect,
    literal,
    literal_column,
    select,
    table,
    true,
)
from sqlalchemy.engine import Dialect

from storekit.errors import StorekitError
from storekit.metastore.engines import Database
from storekit.metastore.layouts import DEFAULT_REGION, Layout
from storekit.metastore.types import RegionId, is_mysql

__all__ = ["Sight", "join_runs", "join_task_instances", "look"]

_OPTIONAL = frozenset({"map_index", "region_index", "region_id", "working_set"})


@dataclass(frozen=True)
class Sight:
    """What of the parents a reader can see; by default nothing.

    Parameters
    ----------
    task_instances
        Whether the states of task instances can be joined.
    dag_runs
        Whether the start and the type of DagRuns can be joined; never on storekit's own layout, which has neither.
    task_columns
        Those of the columns ``map_index``, ``region_index``, ``region_id`` and ``working_set`` that ``task_instance``
        has: they came with Airflow 3.4, one after the other. Empty: those of the layout.
    """

    task_instances: bool = False
    dag_runs: bool = False
    task_columns: frozenset[str] = frozenset()


def look(database: Database, layout: Layout) -> Sight:
    """Return what of the parents this database's user can see."""

    def columns(connection: Connection) -> frozenset[str]:
        found = inspect(connection).get_columns(layout.task_instance.name)
        return frozenset(each["name"] for each in found) & _OPTIONAL

    task_columns = frozenset[str]()
    task_instances = dag_runs = False
    try:
        task_columns = database.run(columns)
        sees = Sight(task_columns=task_columns)
        task_instances = bool(task_columns) and _answers(
            database, join_task_instances(_no_row(layout), layout, database.engine.dialect, sees)
        )
    except StorekitError:
        pass  # the scan, which does not need the table, says what is wrong if more than that is
    if layout.is_airflow:
        dag_runs = _answers(database, join_runs(_no_row(layout), layout, lambda start_date: start_date))
    return Sight(task_instances=task_instances, dag_runs=dag_runs, task_columns=task_columns)


def _no_row(layout: Layout) -> Select[Any]:
    return select(layout.task_store.c.id).where(false())


def _answers(database: Database, joined: tuple[Select[Any], Any]) -> bool:
    statement, columns = joined
    try:
        # In a transaction of its own: what PostgreSQL refuses ends the transaction.
        database.run(lambda connection: connection.execute(statement.add_columns(*columns)).all())
    except StorekitError:
        return False
    return True


def join_task_instances(
    statement: Select[Any], layout: Layout, dialect: Dialect, sight: Sight
) -> tuple[Select[Any], tuple[ColumnElement[str], ColumnElement[str]]]:
    """Join each task row's instance, at most one; return the statement, and the instance's task_id and state."""
    has = sight.task_columns or frozenset(each.name for each in layout.task_instance.c)
    index = "region_index" if "region_index" in has else "map_index"
    # Not the layout's own table: which columns are there differs within 3.4.
    instance: Any = table(
        layout.task_instance.name,
        *(column(name) for name in ("dag_id", "run_id", "task_id", index)),
        column("state", layout.task_instance.c.state.type),
        column("region_id", RegionId()),
        column("working_set", Boolean()),
    )
    row = layout.task_store.c
    default_region = _default_region(dialect)
    same = [
        instance.c.dag_id == row.dag_id,
        instance.c.task_id == row.task_id,
        instance.c.run_id == row.run_id,
        instance.c[index] == row.map_index,
    ]
    if "region_id" in has:
        same.append(instance.c.region_id == (row.region_id if layout.has_regions else default_region))
    elif layout.has_regions:
        # An instance that names no region is the default one's; of another region's rows nothing is known.
        same.append(row.region_id == default_region)
    if "working_set" in has:
        # Else a row would be joined to each attempt that its task ever made.
        same.append(instance.c.working_set == true())
    return statement.outerjoin(instance, and_(*same)), (instance.c.task_id, instance.c.state)


def _default_region(dialect: Dialect) -> ColumnElement[Any]:
    if is_mysql(dialect):
        return func.unhex(literal(DEFAULT_REGION.hex))
    # Written out: what runs a scan may pass parameters on as they are.
    return literal(DEFAULT_REGION, RegionId(), literal_execute=True)


def join_runs(
    statement: Select[Any], layout: Layout, started_at: Callable[[ColumnElement[Any]], ColumnElement[Any]]
) -> tuple[Select[Any], tuple[ColumnElement[Any], ColumnElement[int]]]:
    """Join each task row's DagRun; return the statement, when the run started and whether it is kept (1 or 0).

    ``started_at`` turns a start_date into what the scan gives; it is applied once per run, not once per row.
    """
    runs = _runs(layout, started_at)
    joined = statement.outerjoin(runs, runs.c.id == layout.task_store.c.dag_run_id)
    return joined, (runs.c.started_at, runs.c.is_kept)


def _runs(layout: Layout, started_at: Callable[[ColumnElement[Any]], ColumnElement[Any]]) -> FromClause:
    """Every DagRun, and whether ``airflow db clean`` keeps it as the last of its Dag.

    Source: airflow.utils.db_cleanup of 3.3.2, ``config_list`` (dag_run) and ``_build_query``. The newest start_date of
    each Dag is that of its runs that are not manual; kept is every run that has it, a manual one too.
    """
    run = layout.dag_run.c
    newest = (
        select(run.dag_id, func.max(run.start_date).label("start_date"))
        .where(run.run_type != literal("manual"))
        .group_by(run.dag_id)
        .subquery("newest")
    )
    is_newest = and_(newest.c.dag_id == run.dag_id, newest.c.start_date == run.start_date)
    kept = case((newest.c.dag_id.is_not(None), literal_column("1")), else_=literal_column("0"))
    told = started_at(run.start_date).label("started_at")
    statement = select(run.id, told, kept.label("is_kept")).select_from(layout.dag_run)
    return statement.outerjoin(newest, is_newest).subquery("runs")
