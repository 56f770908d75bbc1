"""Reading the tables past storekit: plain drivers, SQL written out by hand, table and column names too.

What the suites compare with must not come through the layouts, the types or the statements that they test.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from storekit.testing import StoredRow

__all__ = ["read_rows"]

_TASKS = {
    "storekit": "SELECT dag_id, run_id, task_id, map_index, {key}, value, updated_at, expires_at, never_expire "
    "FROM task_store",
    "airflow-3.3": "SELECT dag_id, run_id, task_id, map_index, {key}, value, updated_at, expires_at, NULL "
    "FROM task_state_store",
    "airflow-3.4": "SELECT dag_id, run_id, task_id, region_index, {key}, value, updated_at, expires_at, NULL "
    "FROM task_state_store",
}
_ASSETS = {
    "storekit": "SELECT asset.name, asset.uri, s.{key}, s.value, s.updated_at "
    "FROM asset_store s JOIN asset ON asset.id = s.asset_id",
    "airflow-3.3": "SELECT asset.name, asset.uri, s.{key}, s.value, s.updated_at "
    "FROM asset_state_store s JOIN asset ON asset.id = s.asset_id",
    "airflow-3.4": "SELECT asset.name, asset.uri, s.{key}, s.value, s.updated_at "
    "FROM asset_state_store s JOIN asset ON asset.id = s.asset_id",
}


def read_rows(engine: sa.Engine, layout_name: str) -> list[StoredRow]:
    """Return every row of both tables; ``engine`` lends its driver's connection and nothing more."""
    is_mysql = engine.dialect.name == "mysql"
    quoted = "`key`" if is_mysql else "key"
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if is_mysql:
            cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(_TASKS[layout_name].format(key=quoted))
        tasks = cursor.fetchall()
        cursor.execute(_ASSETS[layout_name].format(key=quoted))
        assets = cursor.fetchall()
        cursor.close()
    finally:
        connection.rollback()
        connection.close()
    return [
        *(
            StoredRow(
                "task",
                tuple(row[:4]),
                row[4],
                row[5],
                updated_at=_instant(row[6]),
                expires_at=_instant(row[7]),
                never_expire=None if row[8] is None else bool(row[8]),
            )
            for row in tasks
        ),
        *(StoredRow("asset", (row[0], row[1]), row[2], row[3], updated_at=_instant(row[4])) for row in assets),
    ]


def _instant(stored: Any) -> datetime | None:
    if stored is None:
        return None
    if isinstance(stored, str):  # SQLite keeps naive UTC text
        stored = datetime.fromisoformat(stored)
    return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)
