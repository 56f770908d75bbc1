"""The three shapes of a state store's tables, and which of them a database has.

A layout is found by the columns of its tables, never by a version string: 3.4 differs from 3.3 by
``region_index`` and ``region_id``, storekit's own by the ``never_expire`` flag. Columns carry one set of keys on
every layout (``layout.task_store.c.map_index`` is ``region_index`` in 3.4), so that a statement is written once.

The parents (``dag_run``, ``task_instance``, ``asset``, ``asset_active``) are declared with the columns that the
store's semantics touch. On a real Airflow database they have many more; those are neither read nor written.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    inspect,
    true,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT, TIMESTAMP

from storekit.errors import LayoutError
from storekit.metastore.types import ExactString, RegionId, UtcInstant

__all__ = [
    "AIRFLOW_3_3",
    "AIRFLOW_3_4",
    "DEFAULT_REGION",
    "LAYOUT_NAMES",
    "STOREKIT",
    "Layout",
    "LayoutName",
    "detect_layout",
    "layout_named",
    "require_layout",
]

LayoutName = Literal["storekit", "airflow-3.3", "airflow-3.4"]
LAYOUT_NAMES: tuple[LayoutName, ...] = ("storekit", "airflow-3.3", "airflow-3.4")

DEFAULT_REGION = uuid.UUID(int=0)
"""The ``region_id`` of a row that no region wrote (Airflow 3.4)."""


@dataclass(frozen=True)
class Layout:
    """One shape of the tables.

    Parameters
    ----------
    name
        ``storekit``, ``airflow-3.3`` or ``airflow-3.4``.
    metadata
        The SQLAlchemy tables; `create_all` makes them.
    has_never_expire
        Whether a flag tells NEVER_EXPIRE from retention 0 where ``expires_at`` is NULL.
    has_regions
        Whether rows carry a region.
    """

    name: LayoutName
    metadata: MetaData
    task_store: Table
    asset_store: Table
    dag_run: Table
    task_instance: Table
    asset: Table
    asset_active: Table
    has_never_expire: bool
    has_regions: bool

    def __repr__(self) -> str:
        return f"Layout({self.name!r}: {self.task_store.name}, {self.asset_store.name})"

    @property
    def is_airflow(self) -> bool:
        """Whether Airflow made these tables, and owns their parents."""
        return self.name != "storekit"


def _value_column() -> Column[str]:
    return Column("value", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=False)


def _airflow_id(length: int = 250) -> String:
    # Airflow's own choice for ids on MySQL; it pads, so trailing spaces do not tell keys apart there.
    return String(length).with_variant(String(length, collation="utf8mb3_bin"), "mysql", "mariadb")


def _airflow_asset_string() -> String:
    return String(1500).with_variant(String(1500, collation="latin1_general_cs"), "mysql", "mariadb")


def _build_storekit() -> Layout:
    metadata = MetaData()
    dag_run = Table(
        "dag_run",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("dag_id", ExactString(250), nullable=False),
        Column("run_id", ExactString(250), nullable=False),
        Column("state", String(50)),
        UniqueConstraint("dag_id", "run_id", name="dag_run_dag_id_run_id_key"),
        sqlite_autoincrement=True,
    )
    task_instance = Table(
        "task_instance",
        metadata,
        Column("id", String(36), primary_key=True),
        Column("dag_id", ExactString(250), nullable=False),
        Column("run_id", ExactString(250), nullable=False),
        Column("task_id", ExactString(250), nullable=False),
        Column("map_index", Integer, nullable=False, server_default="-1"),
        Column("state", String(20)),
        Column("try_number", Integer, nullable=False, server_default="1"),
        UniqueConstraint("dag_id", "run_id", "task_id", "map_index", name="task_instance_composite_key"),
        ForeignKeyConstraint(
            ["dag_id", "run_id"],
            ["dag_run.dag_id", "dag_run.run_id"],
            name="task_instance_dag_run_fkey",
            ondelete="CASCADE",
        ),
    )
    asset = Table(
        "asset",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", ExactString(250), nullable=False),
        Column("uri", ExactString(500), nullable=False),
        UniqueConstraint("name", "uri", name="idx_asset_name_uri_unique"),
        sqlite_autoincrement=True,
    )
    asset_active = Table(
        "asset_active",
        metadata,
        Column("name", ExactString(250), nullable=False),
        Column("uri", ExactString(500), nullable=False),
        PrimaryKeyConstraint("name", "uri", name="asset_active_pkey"),
        ForeignKeyConstraint(
            ["name", "uri"],
            ["asset.name", "asset.uri"],
            name="asset_active_asset_name_uri_fkey",
            ondelete="CASCADE",
        ),
        UniqueConstraint("name", name="idx_asset_active_name_unique"),
        UniqueConstraint("uri", name="idx_asset_active_uri_unique"),
    )
    task_store = Table(
        "task_store",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("dag_run_id", Integer, ForeignKey("dag_run.id", ondelete="CASCADE"), nullable=False),
        Column("dag_id", ExactString(250), nullable=False),
        Column("run_id", ExactString(250), nullable=False),
        Column("task_id", ExactString(250), nullable=False),
        Column("map_index", Integer, nullable=False, server_default="-1"),
        Column("key", ExactString(512), nullable=False),
        _value_column(),
        Column("updated_at", UtcInstant(), nullable=False),
        Column("expires_at", UtcInstant()),
        Column("never_expire", Boolean, nullable=False, server_default=false()),
        UniqueConstraint("dag_run_id", "task_id", "map_index", "key", name="task_store_uq"),
        # A flagged row has no expiry; a row with an expiry is not flagged.
        CheckConstraint("NOT (never_expire AND expires_at IS NOT NULL)", name="task_store_never_expire_ck"),
        Index("idx_task_store_lookup", "dag_id", "run_id", "task_id", "map_index"),
        Index("idx_task_store_expires_at", "expires_at"),
        sqlite_autoincrement=True,
    )
    asset_store = Table(
        "asset_store",
        metadata,
        Column("asset_id", Integer, ForeignKey("asset.id", ondelete="CASCADE"), nullable=False),
        Column("key", ExactString(512), nullable=False),
        _value_column(),
        Column("updated_at", UtcInstant(), nullable=False),
        Column("last_updated_by_kind", String(16)),
        Column("last_updated_by_dag_id", ExactString(250)),
        Column("last_updated_by_run_id", ExactString(250)),
        Column("last_updated_by_task_id", ExactString(250)),
        Column("last_updated_by_map_index", Integer),
        PrimaryKeyConstraint("asset_id", "key", name="asset_store_pkey"),
    )
    return Layout(
        name="storekit",
        metadata=metadata,
        task_store=task_store,
        asset_store=asset_store,
        dag_run=dag_run,
        task_instance=task_instance,
        asset=asset,
        asset_active=asset_active,
        has_never_expire=True,
        has_regions=False,
    )


def _build_airflow(name: LayoutName, *, regions: bool) -> Layout:
    metadata = MetaData()
    index_column = "region_index" if regions else "map_index"

    def region_columns() -> list[Any]:
        return [Column("region_id", RegionId(), nullable=False, default=DEFAULT_REGION)] if regions else []

    # 3.4 keeps a task's past attempts beside the present one: TRUE marks that, NULL those.
    working_set: list[Any] = [Column("working_set", Boolean, server_default=true())] if regions else []
    dag_run = Table(
        "dag_run",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("dag_id", _airflow_id(), nullable=False),
        Column("run_id", _airflow_id(), nullable=False),
        Column("state", String(50)),
        # What `airflow db clean` goes by; not NOT NULL, as nothing of storekit's writes them.
        Column("start_date", UtcInstant(TIMESTAMP)),
        Column("run_type", String(50)),
        UniqueConstraint("dag_id", "run_id", name="dag_run_dag_id_run_id_key"),
    )
    task_instance = Table(
        "task_instance",
        metadata,
        Column("id", String(36), primary_key=True),
        Column("dag_id", _airflow_id(), nullable=False),
        Column("run_id", _airflow_id(), nullable=False),
        Column("task_id", _airflow_id(), nullable=False),
        *region_columns(),
        Column(index_column, Integer, key="map_index", nullable=False, server_default="-1"),
        Column("state", String(20)),
        Column("try_number", Integer),
        *working_set,
        UniqueConstraint(
            "dag_id",
            "task_id",
            "run_id",
            *(["region_id"] if regions else []),
            "map_index",
            *(["working_set"] if regions else []),
            name="task_instance_current_key" if regions else "task_instance_composite_key",
        ),
        ForeignKeyConstraint(
            ["dag_id", "run_id"],
            ["dag_run.dag_id", "dag_run.run_id"],
            name="task_instance_dag_run_fkey",
            ondelete="CASCADE",
        ),
    )
    asset = Table(
        "asset",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", _airflow_asset_string(), nullable=False),
        Column("uri", _airflow_asset_string(), nullable=False),
        Index("idx_asset_name_uri_unique", "name", "uri", unique=True),
        sqlite_autoincrement=True,
    )
    asset_active = Table(
        "asset_active",
        metadata,
        Column("name", _airflow_asset_string(), nullable=False),
        Column("uri", _airflow_asset_string(), nullable=False),
        PrimaryKeyConstraint("name", "uri", name="asset_active_pkey"),
        ForeignKeyConstraint(
            ["name", "uri"],
            ["asset.name", "asset.uri"],
            name="asset_active_asset_name_uri_fkey",
            ondelete="CASCADE",
        ),
        Index("idx_asset_active_name_unique", "name", unique=True),
        Index("idx_asset_active_uri_unique", "uri", unique=True),
    )
    task_store = Table(
        "task_state_store",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("dag_run_id", Integer, nullable=False),
        *region_columns(),
        Column("task_id", _airflow_id(), nullable=False),
        Column(index_column, Integer, key="map_index", nullable=False, server_default="-1"),
        Column("key", _airflow_id(512), nullable=False),
        Column("dag_id", _airflow_id(), nullable=False),
        Column("run_id", _airflow_id(), nullable=False),
        _value_column(),
        Column("updated_at", UtcInstant(TIMESTAMP), nullable=False),
        Column("expires_at", UtcInstant(TIMESTAMP)),
        UniqueConstraint(
            "dag_run_id",
            *(["region_id"] if regions else []),
            "task_id",
            "map_index",
            "key",
            name="task_state_store_uq",
        ),
        ForeignKeyConstraint(["dag_run_id"], ["dag_run.id"], name="task_state_store_dag_run_fkey", ondelete="CASCADE"),
        Index("idx_task_state_store_lookup", "dag_id", "run_id", "task_id", "map_index"),
        Index("idx_task_state_store_expires_at", "expires_at"),
    )
    writer_columns: list[Column[Any]] = [
        Column("last_updated_by_kind", String(16)),
        Column("last_updated_by_dag_id", _airflow_id()),
        Column("last_updated_by_run_id", _airflow_id()),
        Column("last_updated_by_task_id", _airflow_id()),
        Column("last_updated_by_map_index", Integer),
    ]
    if regions:
        # Beside map_index, not in its place: rows that 3.3 wrote have no region_index.
        writer_columns += [
            Column("last_updated_by_task_instance_id", Uuid()),
            Column("last_updated_by_region_id", RegionId()),
            Column("last_updated_by_region_index", Integer),
            Column("last_updated_by_try_number", Integer),
        ]
    asset_store = Table(
        "asset_state_store",
        metadata,
        Column("asset_id", Integer, nullable=False),
        Column("key", _airflow_id(512), nullable=False),
        _value_column(),
        Column("updated_at", UtcInstant(TIMESTAMP), nullable=False),
        *writer_columns,
        PrimaryKeyConstraint("asset_id", "key", name="asset_state_store_pkey"),
        ForeignKeyConstraint(["asset_id"], ["asset.id"], name="asset_state_store_asset_fkey", ondelete="CASCADE"),
    )
    return Layout(
        name=name,
        metadata=metadata,
        task_store=task_store,
        asset_store=asset_store,
        dag_run=dag_run,
        task_instance=task_instance,
        asset=asset,
        asset_active=asset_active,
        has_never_expire=False,
        has_regions=regions,
    )


STOREKIT = _build_storekit()
AIRFLOW_3_3 = _build_airflow("airflow-3.3", regions=False)
AIRFLOW_3_4 = _build_airflow("airflow-3.4", regions=True)

_LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (STOREKIT, AIRFLOW_3_3, AIRFLOW_3_4)}


def layout_named(name: str) -> Layout:
    """Return a layout by its name.

    Raises
    ------
    LayoutError
        If there is no such layout.
    """
    try:
        return _LAYOUTS[name]
    except KeyError:
        raise LayoutError(f"there is no layout {name!r}", hint=f"the layouts are {', '.join(LAYOUT_NAMES)}") from None


def detect_layout(connection: Connection, *, where: str) -> Layout:
    """Return the layout that a database holds, told by its tables' columns.

    Parameters
    ----------
    connection
        Read from, not written to.
    where
        How to name the database in an error; without credentials.

    Raises
    ------
    LayoutError
        If no layout, a half one, or more than one is there.
    """
    held = _Held(connection)
    candidates = [layout for layout in _LAYOUTS.values() if layout.task_store.name in held.tables]
    whole = [layout for layout in candidates if not held.missing_from(layout)]
    if len(whole) == 1:
        return whole[0]
    if len(whole) > 1:
        raise LayoutError(
            f"{where} holds more than one state store: {', '.join(layout.name for layout in whole)}",
            hint="name one: layout='airflow-3.3'",
        )
    if not candidates:
        raise LayoutError(
            f"{where} has no state store: looked for the tables "
            f"{STOREKIT.task_store.name} and {STOREKIT.asset_store.name} (storekit), "
            f"{AIRFLOW_3_3.task_store.name} and {AIRFLOW_3_3.asset_store.name} (Airflow 3.3 and later)",
            hint="check the URL and what this user may see; before Airflow 3.3 there is no state store; "
            "MetastoreStateBackend(url).create_tables() makes an embedded one",
        )
    nearest = min(candidates, key=lambda layout: len(held.missing_from(layout)))
    raise LayoutError(
        f"{where} holds a state store that is like {nearest.name}, but lacks {', '.join(held.missing_from(nearest))}",
        hint="storekit knows Airflow 3.3 and 3.4 and its own layout; was a migration left half done, or may this "
        "user not see them?",
    )


def require_layout(connection: Connection, layout: Layout, *, where: str) -> None:
    """Make sure that a database holds a layout.

    Parameters
    ----------
    connection
        Read from, not written to.
    layout
        The one that was named.
    where
        How to name the database in an error; without credentials.

    Raises
    ------
    LayoutError
        If it holds another one, or none.
    """
    held = _Held(connection)
    if layout.task_store.name in held.tables and not held.missing_from(layout):
        return
    other = detect_layout(connection, where=where)
    raise LayoutError(
        f"{where} holds the layout {other.name}, not {layout.name}", hint=f"leave layout out, or layout='{other.name}'"
    )


class _Held:
    """What tables and columns a database holds; each table is asked about once."""

    def __init__(self, connection: Connection) -> None:
        self._inspector = inspect(connection)
        self.tables = set(self._inspector.get_table_names()) | set(self._inspector.get_view_names())
        self._columns: dict[str, set[str]] = {}

    def columns_of(self, table: str) -> set[str]:
        if table not in self._columns:
            self._columns[table] = {column["name"] for column in self._inspector.get_columns(table)}
        return self._columns[table]

    def missing_from(self, layout: Layout) -> list[str]:
        """Return what a layout needs to be read, and is not there; its task store's table is."""
        missing = []
        if not layout.has_regions and "region_id" in self.columns_of(layout.task_store.name):
            # Between the migrations of 3.4 there was a map_index beside region_id: neither layout's unique key.
            missing.append(f"{layout.task_store.name} without region_id")
        for table in layout.metadata.sorted_tables:
            if table in (layout.task_instance, layout.dag_run):
                continue  # reading needs neither, and a reader may not be allowed to see them
            if table.name not in self.tables:
                missing.append(table.name)
            else:
                lacking = sorted({c.name for c in table.columns} - self.columns_of(table.name))
                missing += [f"{table.name}.{name}" for name in lacking]
        return missing
