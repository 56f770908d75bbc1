"""The columns of every table that storekit hands out: names, Arrow types, nullability, and what each means.

One contract for every layout and database. What a layout cannot know is null, never left out: ``region_id``
before Airflow 3.4, ``never_expire`` where no flag column tells NEVER_EXPIRE from retention 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

__all__ = ["ASSETS", "ROWS", "TASKS", "Column", "Table"]

_INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    name
        As in the DataFrame.
    type
        Arrow type. Instants are microseconds in UTC, sizes and indexes 64-bit integers.
    nullable
        Whether a null may stand there.
    about
        What it means.
    """

    name: str
    type: pa.DataType
    nullable: bool
    about: str


@dataclass(frozen=True)
class Table:
    """A table's columns, in order."""

    name: str
    columns: tuple[Column, ...]

    def names(self, *, values: bool) -> list[str]:
        """Return the column names, with or without ``value``."""
        return [column.name for column in self.columns if values or column.name != "value"]

    def schema(self, *, values: bool) -> pa.Schema:
        """Return the Arrow schema, with or without ``value``."""
        return pa.schema(
            [
                pa.field(column.name, column.type, nullable=column.nullable)
                for column in self.columns
                if values or column.name != "value"
            ]
        )


_DAG_ID = Column("dag_id", pa.string(), False, "Dag of the task instance")
_RUN_ID = Column("run_id", pa.string(), False, "DagRun of the task instance")
_TASK_ID = Column("task_id", pa.string(), False, "task of the task instance")
_MAP_INDEX = Column("map_index", pa.int64(), False, "index of a mapped instance; -1: not mapped (3.4: region_index)")
_REGION_ID = Column("region_id", pa.string(), True, "Airflow 3.4: UUID of the region; null on other layouts")
_KEY = Column("key", pa.string(), False, "key of the entry, 1 to 512 characters")
_VALUE = Column("value", pa.string(), False, "stored text: JSON, or a reference; only with values=True")
_VALUE_BYTES = Column("value_bytes", pa.int64(), False, "size of the stored text in bytes of UTF-8")
_UPDATED_AT = Column("updated_at", _INSTANT, False, "last write, by the server's clock")
_EXPIRES_AT = Column("expires_at", _INSTANT, True, "expiry, by the worker's clock at the write; null: no expiry")
_NEVER_EXPIRE = Column(
    "never_expire", pa.bool_(), True, "set with NEVER_EXPIRE; null where the layout has no flag to tell"
)
_ASSET_ID = Column("asset_id", pa.int64(), False, "key of the asset")
_ASSET_NAME = Column("asset_name", pa.string(), False, "name of the asset")
_ASSET_URI = Column("asset_uri", pa.string(), False, "URI of the asset")
_ACTIVE = Column("active", pa.bool_(), False, "whether a Dag declares the asset now")
_WRITER = (
    Column("last_updated_by_kind", pa.string(), True, "task, watcher or api; null: not recorded"),
    Column("last_updated_by_dag_id", pa.string(), True, "Dag of the writing task"),
    Column("last_updated_by_run_id", pa.string(), True, "DagRun of the writing task"),
    Column("last_updated_by_task_id", pa.string(), True, "the writing task"),
    Column("last_updated_by_map_index", pa.int64(), True, "its index; -1: not mapped"),
)


def _nullable(column: Column) -> Column:
    return Column(column.name, column.type, True, column.about)


TASKS = Table(
    "tasks",
    (
        _DAG_ID,
        _RUN_ID,
        _TASK_ID,
        _MAP_INDEX,
        _REGION_ID,
        _KEY,
        _VALUE,
        _VALUE_BYTES,
        _UPDATED_AT,
        _EXPIRES_AT,
        _NEVER_EXPIRE,
    ),
)
"""`Store.tasks`: one row per entry of the task store."""

ASSETS = Table(
    "assets",
    (_ASSET_ID, _ASSET_NAME, _ASSET_URI, _ACTIVE, _KEY, _VALUE, _VALUE_BYTES, _UPDATED_AT, *_WRITER),
)
"""`Store.assets`: one row per entry of the asset store."""

ROWS = Table(
    "rows",
    (
        Column("store", pa.string(), False, "task or asset"),
        *(_nullable(column) for column in (_DAG_ID, _RUN_ID, _TASK_ID, _MAP_INDEX, _REGION_ID)),
        *(_nullable(column) for column in (_ASSET_ID, _ASSET_NAME, _ASSET_URI, _ACTIVE)),
        _KEY,
        _VALUE_BYTES,
        _UPDATED_AT,
        _EXPIRES_AT,
        _NEVER_EXPIRE,
        *_WRITER,
        Column("is_reference", pa.bool_(), False, "whether the stored text refers to a worker-side object"),
        Column(
            "task_state",
            pa.string(),
            True,
            "state of the task instance; none: it has no state yet; null: no such instance, or it could not be seen",
        ),
        Column("run_started_at", _INSTANT, True, "start of the DagRun; null: not started, or it could not be seen"),
        Column(
            "run_is_kept",
            pa.bool_(),
            True,
            "whether airflow db clean keeps the DagRun, the last of its Dag; null: not seen",
        ),
    ),
)
"""A snapshot: both tables, narrow, as one. The columns of the other store are null."""
